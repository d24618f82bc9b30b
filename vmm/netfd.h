/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens what a network card is connected to, before the sandbox: a tap of this
 * host, one that was inherited, or passt, which is started here if no socket of
 * one is given. A passt that we start ends when our end of its socket is
 * closed, however we end.
 *
 * Owner: the thread that starts the VM, alone.
 */
#ifndef TINTYPE_NETFD_H
#define TINTYPE_NETFD_H

#include "config_net.h"

/* An fd that does not block, or -errno with `why`. Not of an unplugged card. */
int netfd_open(const struct vm_net *n, struct fail *why);

#endif
