/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: RAM, vCPUs, buses and the one table of devices.
 *
 *            machine_load            machine_run
 *     NEW ────────────────► QUIESCED ───────────► RUNNING
 *                            ▲  │ ▲                  │ machine_pause
 *                            │  │ │  all parked,     ▼
 *             machine_reset  └──┘ └───────────── PARKING
 *                              devices quiesced
 *
 *     any ── machine_destroy ──► gone
 *
 * QUIESCED: every vCPU is parked (vcpu.h) and every device is quiesced: the
 * one state in which state is read, set, reset, saved. A stop drains the
 * devices while the vCPUs still run (one may wait in a device's reset for what
 * is in flight, which only the I/O thread can end), parks them, and quiesces
 * once more, for what they have written meanwhile; running again is the
 * reverse.
 *
 * Owner: the I/O thread, for all of this.
 */
#ifndef TINTYPE_MACHINE_H
#define TINTYPE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "boot.h"
#include "fail.h"
#include "guest_event.h"

enum machine_state {
	MACHINE_NEW,
	MACHINE_QUIESCED,
	MACHINE_RUNNING,
	MACHINE_PARKING,
	MACHINE_STATES
};

struct console;
struct device;
struct disk;
struct loop;
struct machine;
struct vcpu;

/* A virtio-blk. */
struct machine_disk {
	const char *id;	    /* "root": the device is "disk-root" */
	struct disk *disk;  /* the caller's, who ends it after the machine */
	const char *serial; /* NULL: the id */
	uint64_t bytes_a_second, ops_a_second; /* 0: no limit */
};
#define MACHINE_DISK_ID_MAX 20 /* bytes */
#define MACHINE_MAX_NETS    8

/* A network card. */
struct machine_net {
	const char *name; /* outlives the machine */
	int fd;		  /* taken over; does not block; -1: unplugged */
	bool stream;	  /* a stream socket (passt), not a tap */
	uint8_t mac[6];
	uint16_t mtu;			/* 0: the guest is told none */
	uint64_t bytes_max, frames_max; /* a second, each way; 0: no limit */
};

struct machine_config {
	int kvm_fd; /* taken over */
	unsigned cpus;
	uint64_t memory_bytes;
	uint64_t region_max; /* 0: no limit; tests want many memory slots */
	struct loop *loop;
	struct console *console;
	int rng_fd;   /* /dev/urandom, taken over; -1: no virtio-rng */
	bool balloon; /* a virtio-balloon */
	int agent_fd; /* a listening socket for the guest agent's
		       * port, taken over; -1: none */
	const struct machine_disk *disk; /* in the order that the guest sees */
	unsigned ndisks;
	int vsock_fd; /* the link to its broker, taken over; -1: none */
	uint32_t vsock_cid;
	struct machine_net net[MACHINE_MAX_NETS];
	unsigned nnets;
	int (*confine)(void); /* see vcpu_shared; NULL: none */
	/* What the guest did, told on the I/O thread. The vCPU that did what
	 * ends or resets the machine is already stopped. */
	void (*event)(void *ctx, enum guest_event what, uint32_t value);
	void *ctx;
	/* Proofs only; NULL else. After each exit was dispatched, on that
	 * vCPU's thread: may call vcpu_request_park on it. Only in
	 * tests/exact. */
	void (*exited)(void *ctx, struct vcpu *v);
};

/* The VM with its RAM, irqchip, vCPUs and devices, and the parked threads of
 * the vCPUs. 0, or -errno with `why`; nothing is left behind then. */
int machine_create(struct machine **out, const struct machine_config *c,
		   struct fail *why);
void machine_destroy(struct machine *m); /* in any state */

/* Loads a guest into the NEW machine. `src` (and its blobs) is kept for
 * machine_reset and must outlive the machine. */
int machine_load(struct machine *m, const struct boot_source *src,
		 struct fail *why);

void machine_run(struct machine *m);   /* QUIESCED -> RUNNING */
void machine_pause(struct machine *m); /* RUNNING -> QUIESCED */

/* Power-on state of all, RAM zeroed, the guest loaded anew; events that were
 * not told yet are forgotten. QUIESCED and stays so, or RUNNING: then it is
 * paused for it, and runs again. On failure it is QUIESCED and can only be
 * destroyed. */
int machine_reset(struct machine *m, struct fail *why);

/* The user presses the power button. RUNNING. */
void machine_power_button(struct machine *m);

/* Tells the guest once more of a press that it has not noticed; false when
 * there is none. RUNNING. */
bool machine_power_button_again(struct machine *m);

enum machine_state machine_state(const struct machine *m);
const char *machine_state_name(enum machine_state s);

/* Where a parked vCPU stands: its instruction pointer, 0 if unknown. */
uint64_t machine_vcpu_rip(struct machine *m, unsigned id);

/* ---- state (machine_state.c) ---- */

/*
 * All that the guest can see but RAM and what is on disks, as plain structs:
 * vCPUs, irqchip, clock, each device; with it the machine's shape and what of
 * the host it depends on. docs/snapshot-format.md has its bytes.
 */
struct machine_saved;

/* Table `i` of what is neither a vCPU's nor a device's; NULL: no more. */
struct state_desc;
const struct state_desc *machine_saved_table(unsigned i);

/* One that fits this machine (vCPUs, devices): all memory that machine_save
 * will touch is there. 0 or -errno with `why`. */
int machine_saved_create(struct machine_saved **out, const struct machine *m,
			 struct fail *why);
void machine_saved_destroy(struct machine_saved *s); /* NULL: nothing */

/* QUIESCED; nothing is changed but what KVM's own reading changes. Memory and
 * ioctls only, no allocation: it is part of the pause. 0; -EBUSY: the guest has
 * ended or reset itself, which is still to be told; or -errno. */
int machine_save(struct machine *m, struct machine_saved *s, struct fail *why);

/* As the sections of docs/snapshot-format.md. The caller frees *data. Any
 * thread, as is decoding. */
int machine_saved_encode(const struct machine_saved *s, uint8_t **data,
			 size_t *len, struct fail *why);
/* Into one made by machine_saved_create for the machine that it shall be loaded
 * to: everything is judged that can be without touching it. EXIT_INTEGRITY:
 * damaged; EXIT_INCOMPATIBLE: a newer version, another machine, other devices,
 * or, unless `force_cpu`, a host that lacks what the guest was shown. */
int machine_saved_decode(struct machine_saved *s, const void *data, size_t len,
			 bool force_cpu, struct fail *why);

enum clock_policy {
	CLOCK_CONTINUE, /* as if no time had passed */
	CLOCK_ADVANCE,	/* the guest's clocks jump by the time since */
};

struct machine_restore {
	enum clock_policy clock;
	const uint8_t *vmgenid; /* a new identity, 16 bytes; NULL: the old */
};

/*
 * NEW (then it becomes QUIESCED) or QUIESCED; RAM already holds what belongs to
 * the state. A device's own refusal, or KVM's, is a failure: a NEW machine can
 * only be destroyed then; a QUIESCED one may be given another state, such as
 * the one that it was saved in before. `src`, for later resets: as in
 * machine_load; NULL keeps the one of before.
 */
int machine_restore(struct machine *m, const struct machine_saved *s,
		    const struct machine_restore *how,
		    const struct boot_source *src, struct fail *why);

/* What the capture engine works on. */
struct gmem;
struct gmem *machine_ram(struct machine *m);
int machine_vm_fd(const struct machine *m);

struct machine_counters {
	uint64_t exits, pio, mmio, signals; /* over all vCPUs */
	uint64_t unclaimed;		    /* accesses that no device takes */
	uint64_t refused; /* accesses that a register table refuses */
	uint64_t resets;
};
void machine_counters(struct machine *m, struct machine_counters *out);

#define MACHINE_BALLOON_STATS 16
struct machine_balloon {
	uint64_t target_bytes; /* of RAM, that the guest shall keep */
	uint64_t actual_bytes; /* that it does keep, as its driver says */
	bool asked;	       /* somebody will answer */
	uint64_t updates;      /* answers so far */
	unsigned nstats;
	struct {
		const char *name;
		uint64_t value;
	} stat[MACHINE_BALLOON_STATS]; /* as of the last answer */
};

/* Sets the target (0: leaves it), asks the guest for statistics, tells how all
 * is. 0, or -ENODEV. */
int machine_balloon(struct machine *m, uint64_t target_bytes, bool ask,
		    struct machine_balloon *out);

/* Calls `fn` for each device, its lock held, with its printed state
 * ("name=0x..\n" lines). Any state. */
void machine_each_device(struct machine *m,
			 void (*fn)(void *ctx, const struct device *d,
				    const char *state),
			 void *ctx);

#endif
