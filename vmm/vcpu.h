/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU and its thread: run, kick, park.
 *
 *   IDLE ──vcpu_unpark──► RUNNING ──vcpu_request_park──► (kicked) ──► IDLE
 *
 * Parked means: out of KVM_RUN, and re-entered with immediate_exit until it
 * returned EINTR, so that every PIO or MMIO access which was half way has been
 * completed (KVM API, KVM_RUN: "the pending operation is completed when
 * re-entering"). Only then may its state be read or set.
 *
 * Owner: the I/O thread calls all of this; the vCPU's thread runs inside.
 */
#ifndef TINTYPE_VCPU_H
#define TINTYPE_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "boot.h"
#include "bus.h"
#include "fail.h"
#include "guest_event.h"
#include "thread.h"
#include "vcpu_state.h"

struct vcpu;

/* What all vCPUs of a machine share; outlives them. */
struct vcpu_shared {
	int kvm_fd, vm_fd;
	struct bus *pio, *mmio;
	struct guest_events *events;
	/* Called once on each new vCPU thread before it touches the guest:
	 * the sandbox. Returns 0 or -errno, which stops the machine. */
	int (*confine)(void);
	/* Proofs only, see machine_config; NULL else. */
	void (*exited)(void *ctx, struct vcpu *v);
	void *exited_ctx;
	unsigned cpus;
	size_t run_bytes;   /* KVM_GET_VCPU_MMAP_SIZE */
	size_t xsave_bytes; /* kvm_xsave_bytes */
	bool sregs2;	    /* KVM_CAP_SREGS2 */
	struct kvm_cpuid2 *cpuid;
	struct kvm_msr_list *msrs;
};

struct vcpu_counters {
	_Atomic uint64_t exits, pio, mmio, signals;
};

struct vcpu {
	struct vcpu_shared *shared;
	unsigned id;
	int fd;
	struct kvm_run *run;
	struct vcpu_kvm kvm;
	struct vcpu_state *power_on; /* as KVM made it */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards want_park, parked, quit, tid */
	pthread_cond_t changed;
	struct thread_id tid; /* zero until the thread has the lock */
	bool want_park, parked, quit;
	struct vcpu_counters counters;
};

/* The shared part: sizes, the CPUID that the guests will see, the MSR list. */
int vcpu_shared_init(struct vcpu_shared *s, struct fail *why);
void vcpu_shared_fini(struct vcpu_shared *s);

/* Creates the vCPU and sets its CPUID and power-on state; no thread yet. */
int vcpu_init(struct vcpu *v, struct vcpu_shared *s, unsigned id,
	      struct fail *why);
void vcpu_fini(struct vcpu *v); /* parked or never started; joins */

/* Starts the thread, parked. */
int vcpu_start(struct vcpu *v);

/* Power-on state again; then, for the first vCPU, the loader's entry. Parked
 * or not started. */
int vcpu_reset(struct vcpu *v, struct fail *why);
int vcpu_enter_at(struct vcpu *v, const struct boot_entry *e, struct fail *why);

/* Asks without waiting (so that all vCPUs stop at once; also from the vCPU's
 * own thread: it stops before its next guest instruction), then waits. */
void vcpu_request_park(struct vcpu *v);
void vcpu_wait_parked(struct vcpu *v);
void vcpu_unpark(struct vcpu *v);

#endif
