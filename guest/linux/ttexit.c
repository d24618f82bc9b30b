/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Linux guest tells its machine: `ttexit exit CODE` ends the VM and
 * gives `tintype run` its exit code, `ttexit ready` lets --wait-ready go on.
 *
 * Needs CAP_SYS_RAWIO (root) for ioperm(2); kernels without /dev/port allow
 * this too.
 */
#include <asm/ioctls.h>

#include "alone.h"
#include "platform.h"

#define USAGE "usage: ttexit exit CODE | ttexit ready\n"
#define DENIED                                                                 \
	"ttexit: no access to the machine's ports: run it as root, on "        \
	"tintype\n"

/* What was printed is still on its way out of the kernel's buffer when the
 * printing program ends; the machine must not end before it. tcdrain(3) of
 * stdout and stderr, and no matter if they are no terminals. */
static void drain(void)
{
	syscall3(__NR_ioctl, 1, TCSBRK, 1);
	syscall3(__NR_ioctl, 2, TCSBRK, 1);
}

static void out_byte(unsigned short port, unsigned char value)
{
	if (syscall3(__NR_ioperm, port, 1, 1) != 0)
		complain(DENIED, sizeof(DENIED) - 1);
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

/* `stack` is as the kernel leaves it: argc, then argv. */
static _Noreturn void start(const long *stack)
{
	long argc = stack[0];
	const char *const *argv = (const char *const *)(stack + 1);

	if (argc == 2 && equal(argv[1], "ready")) {
		out_byte(PLATFORM_POWER_READY, 1);
		leave(0);
	}
	if (argc == 3 && equal(argv[1], "exit") &&
	    number_of(argv[2], 255) >= 0) {
		drain();
		out_byte(PLATFORM_EXIT_PORT,
			 (unsigned char)number_of(argv[2], 255));
		leave(1); /* we came back: nothing listens at that port */
	}
	complain(USAGE, sizeof(USAGE) - 1);
}

ALONE_START(start);
