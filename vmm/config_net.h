/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One network card of a VM, as --net and the key `net` say it:
 *
 *   tap=IF | fd=N | passt[=SOCKET] | unplugged
 * [,id=ID][,mac=M][,mtu=N][,bps=SIZE][,pps=N]
 *
 * Plain data; vmm/netfd.h opens what it names.
 */
#ifndef TINTYPE_CONFIG_NET_H
#define TINTYPE_CONFIG_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "fail.h"

#define CONFIG_MAX_NETS	   8
#define CONFIG_NET_ID_MAX  24 /* "net-" and 20 bytes */
#define CONFIG_NET_IF_MAX  15 /* of a Linux interface's name */
#define CONFIG_MAC_BYTES   6
#define CONFIG_NET_MTU_MIN 68
#define CONFIG_NET_MTU_MAX 65535

enum vm_net_kind { VM_NET_TAP, VM_NET_FD, VM_NET_PASST, VM_NET_UNPLUGGED };

struct vm_net {
	char *text; /* as it was written */
	enum vm_net_kind kind;
	char *where; /* the interface; passt's socket, NULL: start one */
	int fd;	     /* VM_NET_FD */
	char id[CONFIG_NET_ID_MAX + 1]; /* the device's name: net0, or net-ID */
	bool has_mac;
	uint8_t mac[CONFIG_MAC_BYTES];
	uint16_t mtu;			/* 0: the guest is told none */
	uint64_t bytes_max, frames_max; /* a second, each way; 0: no limit */
};

/* The n-th card of a VM. 0, or -errno with message and hint; then, too, it is
 * to be freed. */
int vm_net_parse(struct vm_net *n, const char *value, unsigned nth,
		 struct fail *why);
void vm_net_free(struct vm_net *n);

/* The MAC that was given, or one made of the two names: the same whenever the
 * same VM starts, and locally administered. */
void vm_net_mac(const struct vm_net *n, const char *vm,
		uint8_t mac[CONFIG_MAC_BYTES]);

#endif
