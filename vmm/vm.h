/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of one VM's process, after everything was opened and before the
 * exit code: build the machine, close the sandbox, run the loop, end.
 */
#ifndef TINTYPE_VM_H
#define TINTYPE_VM_H

#include "config.h"
#include "disk_open.h"
#include "fail.h"
#include "layer_format.h"
#include "machine.h"

/* The snapshot that a new process goes on from, instead of a boot. */
struct vm_restore {
	bool wanted;
	struct object_id manifest;
	struct object_id memory, state; /* layers, and their roots */
	uint32_t memory_root, state_root;
	uint64_t state_bytes;
	enum clock_policy clock;
	bool new_identity;
	uint8_t vmgenid[16];
	bool force_cpu;
};

/* Everything the VM will ever have open; -1 where there is none. vm_run takes
 * them all over. After it started, it opens nothing more. */
struct vm_files {
	int kvm;	    /* /dev/kvm */
	int kernel, initrd; /* read-only; kernel -1: the demo guest */
	int rng;	    /* /dev/urandom */
	int vsock;	    /* the link to the vsock broker */
	struct disk_files disk[CONFIG_MAX_DISKS];
	/* Sealed layers, read-only, that its disks and the snapshot that it
	 * begins with need; nlayers of them, freed by vm_run. */
	int *layer;
	unsigned nlayers;
	int pagemap; /* /proc/self/pagemap, read-only */
	struct vm_restore restore;
	bool disks_stay; /* after the VM's end; else their space is free */
	int in, out;	 /* console sinks, see console_config */
	int net[CONFIG_MAX_NETS]; /* taps and sockets, as the config has them */
	bool terminal;
	int log;	/* console.log, read/write */
	int control;	/* listening UNIX socket */
	int console[2]; /* listening UNIX sockets */
	int agent;	/* a listening UNIX socket */
	int status;	/* state.json, write: how the VM is, how it ended */
	int started;	/* a pipe: a line of JSON when the guest runs */
	int ready;	/* a pipe: one byte when the guest says so */
	int lock;	/* held as long as the VM lives; nothing else */
};

/*
 * Runs the VM until it ends. Returns the process's exit code: the guest's own,
 * EXIT_GUEST_CRASH, EXIT_CANCELLED when it was ended from outside, or
 * EXIT_OWN_FAILURE and more exact codes with `why` filled when it never ran.
 */
int vm_run(const struct vm_config *c, struct vm_files *f, struct fail *why);

#endif
