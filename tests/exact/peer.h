/* SPDX-License-Identifier: Apache-2.0 */
/* What is at the other end of a guest's network and vsock: a process that sends
 * everything back, and ends when its other end is closed. */
#ifndef TINTYPE_TESTS_EXACT_PEER_H
#define TINTYPE_TESTS_EXACT_PEER_H

#include <stdint.h>

/* Their ends for the VM; 0 or -1. *open, shared: connections now. */
int peer_net(int *vm);
int peer_vsock(int *vm, _Atomic uint32_t *open);

#endif
