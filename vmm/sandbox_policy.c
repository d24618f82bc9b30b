/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which system calls each kind of thread may make, with which arguments, and
 * for what. What is not here ends the process.
 *
 * How to read it: a row allows one call (for ioctl: one request). Two rows of
 * one call are alternatives; two conditions in a row must both hold. An ioctl
 * request is compared with all 64 bits of the register.
 *
 * What is deliberately missing: every way to a new fd (open, memfd_create, dup;
 * the VM's I/O thread has accept4, and recvmsg for what the vsock's broker
 * hands in, the writer recvmsg for a capture's files, the broker has socket,
 * pipe2 and accept4), send in the VM's process (pwritev2 does, as it ignores
 * SIGPIPE), a new process or thread, executable memory (mprotect, mmap with
 * PROT_EXEC), a signal to anybody else, sigaction, prctl, ptrace, a new
 * io_uring, bpf, and TIOCSTI.
 *
 * The abort path is in for every thread, so that an assertion that fails
 * ends with its message and SIGABRT, with the terminal restored, and not with
 * SIGSYS.
 */
#include "sandbox_policy.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/falloc.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "pagemap.h"

#define ANY UINT64_MAX

/* clang-format off */
#define CALL(threads, call, priority, reason)                                  \
	{ #call, SYS_##call, threads, { { 0 } }, priority, reason }
#define WHEN1(threads, call, arg, mask, value, priority, reason)               \
	{ #call, SYS_##call, threads, { { arg, mask, value } },                \
	  priority, reason }
#define WHEN2(threads, call, arg, mask, value, arg2, mask2, value2, reason)    \
	{ #call, SYS_##call, threads,                                          \
	  { { arg, mask, value }, { arg2, mask2, value2 } }, 0, reason }
/* clang-format on */
#define IOCTL(threads, request, reason)                                        \
	WHEN1(threads, ioctl, 2, ANY, request, 255, reason)

/* malloc's, and guest RAM mapped afresh: private, of no file, never code. */
#define MAP_MASK  (ANY & ~(uint64_t)(MAP_FIXED | MAP_NORESERVE))
#define MAP_VALUE (MAP_PRIVATE | MAP_ANONYMOUS)

#define ALLOCATE_MODES                                                         \
	(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)

const struct sandbox_rule sandbox_policy[] = {
	/* The guest runs. */
	IOCTL(SANDBOX_VCPU, KVM_RUN, "run the guest"),
	IOCTL(SANDBOX_VCPU | SANDBOX_IO, KVM_IRQ_LINE,
	      "a device's interrupt line"),
	CALL(SANDBOX_ALL, futex, 240, "locks and condition variables"),
	CALL(SANDBOX_ALL, pwritev2, 230,
	     "wake the loop (eventfd); the log; all output; the state file"),
	CALL(SANDBOX_VCPU | SANDBOX_IO, rt_sigreturn, 220,
	     "return from a kick or a signal"),

	/* The loop and its fds. */
	CALL(SANDBOX_IO, epoll_pwait2, 235, "the loop"),
	CALL(SANDBOX_IO, epoll_ctl, 0, "sources come, go and are muted"),
	CALL(SANDBOX_IO | SANDBOX_WRITER, preadv2, 210,
	     "signalfd, all input; the log moves its newer half; layers"),
	CALL(SANDBOX_IO | SANDBOX_WRITER, close, 0,
	     "a client has left; a layer is not needed any more"),
	CALL(SANDBOX_IO, accept4, 0, "a client of control or console"),
	WHEN2(SANDBOX_IO, getsockopt, 2, ANY, SOL_SOCKET, 3, ANY, SO_PEERCRED,
	      "who that client is"),
	CALL(SANDBOX_IO | SANDBOX_WRITER, ppoll, 0,
	     "how far an output may be written; fds are on their way"),
	CALL(SANDBOX_IO | SANDBOX_WRITER, ftruncate, 0,
	     "the log; the VM's state file; a layer's end"),
	CALL(SANDBOX_ALL, clock_gettime, 0,
	     "timers, uptime and the guest's RTC, where the vDSO has no clock"),

	/* Disks. What the ring itself may do was fixed when it was made: four
	 * operations, on files that it was given (vmm/uring.c). */
	WHEN2(SANDBOX_IO, io_uring_enter, 4,
	      ANY & ~(uint64_t)IORING_ENTER_GETEVENTS, 0, 5, ANY, 0,
	      "what of a disk would have to wait"),
	WHEN1(SANDBOX_IO | SANDBOX_WRITER, io_uring_register, 2, ANY,
	      IORING_REGISTER_FILES_UPDATE, 0,
	      "heads come and go with captures"),
	CALL(SANDBOX_IO | SANDBOX_WRITER, fdatasync, 0,
	     "a disk's log is begun anew; flush, where there is no ring; a "
	     "layer is sealed"),
	WHEN1(SANDBOX_IO | SANDBOX_WRITER, fallocate, 2,
	      ANY & ~(uint64_t)ALLOCATE_MODES, 0, 0,
	      "discard, where there is no ring; a head's unused slots"),

	/* Sockets and networks. */
	WHEN1(SANDBOX_IO | SANDBOX_WRITER, recvmsg, 3, ANY,
	      MSG_CMSG_CLOEXEC | MSG_DONTWAIT, 0,
	      "a connection from the vsock's broker; a capture's files"),
	IOCTL(SANDBOX_IO, TUNSETOFFLOAD,
	      "the frames that the guest's driver says it takes"),

	/* Memory, never executable. */
	WHEN2(SANDBOX_IO, mmap, 3, PROT_EXEC, 0, 4, MAP_MASK, MAP_VALUE,
	      "malloc; guest RAM cleared at a reboot"),
	WHEN2(SANDBOX_WRITER, mmap, 3, PROT_EXEC, 0, 4,
	      MAP_MASK & ~(uint64_t)MAP_ANONYMOUS, MAP_PRIVATE,
	      "malloc, staging; guest RAM over a layer's file"),
	CALL(SANDBOX_IO | SANDBOX_WRITER, munmap, 0, "free; staging"),
	CALL(SANDBOX_IO | SANDBOX_WRITER, brk, 0, "malloc and free"),
	CALL(SANDBOX_ALL, madvise, 0,
	     "a thread gives its stack back; guest RAM stays out of dumps"),

	/* Stop the guest, and a thread's or the process's end. */
	WHEN1(SANDBOX_ALL, tgkill, 1, ANY, SANDBOX_PID_MARK, 0,
	      "kick a vCPU; end by SIGABRT: only to our own process"),
	CALL(SANDBOX_VCPU | SANDBOX_WRITER, rt_sigprocmask, 0,
	     "a thread's exit blocks all"),
	CALL(SANDBOX_VCPU | SANDBOX_WRITER, exit, 0,
	     "a vCPU's thread, or the writer, ends"),
	CALL(SANDBOX_ALL, exit_group, 0, "the VM ends"),

	/* The terminal is restored by whichever thread must end us. */
	IOCTL(SANDBOX_ALL, TCSETS, "restore the terminal"),
	IOCTL(SANDBOX_IO, TCGETS, "read the terminal's settings"),

	/* State of parked vCPUs: reset, inspect. */
	IOCTL(SANDBOX_IO, KVM_GET_REGS, "inspect"),
	IOCTL(SANDBOX_IO, KVM_SET_REGS, "reset"),
	IOCTL(SANDBOX_IO, KVM_GET_SREGS, "inspect"),
	IOCTL(SANDBOX_IO, KVM_SET_SREGS, "reset"),
	IOCTL(SANDBOX_IO, KVM_GET_XSAVE, "inspect"),
	IOCTL(SANDBOX_IO, KVM_SET_XSAVE, "reset"),
	IOCTL(SANDBOX_IO, KVM_GET_XCRS, "inspect"),
	IOCTL(SANDBOX_IO, KVM_SET_XCRS, "reset"),
	IOCTL(SANDBOX_IO, KVM_GET_DEBUGREGS, "inspect"),
	IOCTL(SANDBOX_IO, KVM_SET_DEBUGREGS, "reset"),
	IOCTL(SANDBOX_IO, KVM_GET_LAPIC, "inspect"),
	IOCTL(SANDBOX_IO, KVM_SET_LAPIC, "reset"),
	IOCTL(SANDBOX_IO, KVM_GET_VCPU_EVENTS, "inspect"),
	IOCTL(SANDBOX_IO, KVM_SET_VCPU_EVENTS, "reset"),
	IOCTL(SANDBOX_IO, KVM_GET_MP_STATE, "inspect"),
	IOCTL(SANDBOX_IO, KVM_SET_MP_STATE, "reset"),
	IOCTL(SANDBOX_IO, KVM_GET_MSRS, "inspect"),
	IOCTL(SANDBOX_IO, KVM_SET_MSRS, "reset"),
	IOCTL(SANDBOX_IO, KVM_GET_IRQCHIP, "inspect"),
	IOCTL(SANDBOX_IO, KVM_SET_IRQCHIP, "reset"),

	/* Capture and restore. */
	IOCTL(SANDBOX_IO, KVM_GET_CLOCK, "capture"),
	IOCTL(SANDBOX_IO, KVM_SET_CLOCK, "restore"),
	IOCTL(SANDBOX_IO, KVM_GET_SREGS2, "capture"),
	IOCTL(SANDBOX_IO, KVM_SET_SREGS2, "restore"),
	IOCTL(SANDBOX_IO, KVM_GET_XSAVE2, "capture"),
	IOCTL(SANDBOX_IO, KVM_GET_CPUID2, "capture"),
	IOCTL(SANDBOX_IO, KVM_GET_TSC_KHZ, "capture"),
	IOCTL(SANDBOX_IO, KVM_SET_TSC_KHZ, "restore"),
	IOCTL(SANDBOX_IO, KVM_GET_DEVICE_ATTR, "a TSC offset"),
	IOCTL(SANDBOX_IO, KVM_SET_DEVICE_ATTR, "a TSC offset"),
	IOCTL(SANDBOX_IO, KVM_KVMCLOCK_CTRL, "the guest was stopped"),
	IOCTL(SANDBOX_IO | SANDBOX_WRITER, KVM_GET_DIRTY_LOG,
	      "what the guest has changed"),
	IOCTL(SANDBOX_WRITER, KVM_CLEAR_DIRTY_LOG,
	      "what of it a round will copy"),
	IOCTL(SANDBOX_WRITER, KVM_SET_USER_MEMORY_REGION,
	      "the flags of its slots: the log on and off"),
	IOCTL(SANDBOX_WRITER, PAGEMAP_SCAN, "which pages there are"),
	WHEN1(SANDBOX_WRITER, newfstatat, 4, ANY, AT_EMPTY_PATH, 0,
	      "how large a layer is"),
	CALL(SANDBOX_WRITER, getrandom, 0, "a layer's uid"),

	/* The vsock broker: it connects by name and listens for the VM, and
	 * never reads a stream. */
	CALL(SANDBOX_BROKER, ppoll, 0, "wait for the VM, clients, tokens"),
	WHEN1(SANDBOX_BROKER, recvmsg, 3, ANY, MSG_CMSG_CLOEXEC | MSG_DONTWAIT,
	      0, "what the VM asks for"),
	CALL(SANDBOX_BROKER, pwritev2, 0,
	     "answer it; say which assertion failed"),
	WHEN1(SANDBOX_BROKER, sendmsg, 3, ANY, MSG_NOSIGNAL, 0,
	      "hand a connection over"),
	WHEN1(SANDBOX_BROKER, accept4, 4, ANY, SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
	      "a host program"),
	WHEN2(SANDBOX_BROKER, getsockopt, 2, ANY, SOL_SOCKET, 3, ANY,
	      SO_PEERCRED, "who that is"),
	WHEN1(SANDBOX_BROKER, recvfrom, 4, ANY, MSG_PEEK, 0,
	      "find the end of its line"),
	CALL(SANDBOX_BROKER, preadv2, 0, "take its line"),
	WHEN2(SANDBOX_BROKER, socket, 1, ANY, AF_UNIX, 2, ANY,
	      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	      "for the guest's connection"),
	CALL(SANDBOX_BROKER, connect, 0, "to PATH_PORT"),
	WHEN1(SANDBOX_BROKER, pipe2, 2, ANY, O_CLOEXEC, 0, "a token"),
	WHEN1(SANDBOX_BROKER, shutdown, 2, ANY, SHUT_WR, 0,
	      "end the host's input when the token ends"),
	CALL(SANDBOX_BROKER, close, 0, "a connection is the VM's alone now"),
	CALL(SANDBOX_BROKER, newfstatat, 0, "is it still our socket"),
	WHEN1(SANDBOX_BROKER, unlinkat, 3, ANY, 0, 0, "remove it at the end"),
	CALL(SANDBOX_BROKER, clock_gettime, 0,
	     "time limits, where the vDSO has no clock of its own"),
	WHEN1(SANDBOX_BROKER, tgkill, 1, ANY, SANDBOX_PID_MARK, 0,
	      "end by SIGABRT"),
	CALL(SANDBOX_BROKER, exit_group, 0, "the end"),
};

const size_t sandbox_policy_rules =
    sizeof(sandbox_policy) / sizeof(sandbox_policy[0]);
