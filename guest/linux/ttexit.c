/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Linux guest tells its machine: `ttexit exit CODE` ends the VM and
 * gives `tintype run` its exit code, `ttexit ready` lets --wait-ready go on.
 *
 * Stands alone, without a C library, so that a small initramfs stays small.
 * Needs CAP_SYS_RAWIO (root) for ioperm(2); kernels without /dev/port allow
 * this too.
 */
#include <asm/ioctls.h>
#include <asm/unistd.h>

#include "platform.h"

#define USAGE "usage: ttexit exit CODE | ttexit ready\n"
#define DENIED                                                                 \
	"ttexit: no access to the machine's ports: run it as root, on "        \
	"tintype\n"

static long syscall3(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}

static _Noreturn void leave(int code)
{
	for (;;)
		syscall3(__NR_exit, code, 0, 0);
}

static _Noreturn void complain(const char *text, unsigned long bytes)
{
	syscall3(__NR_write, 2, (long)text, (long)bytes);
	leave(2);
}

static int equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* What was printed is still on its way out of the kernel's buffer when the
 * printing program ends; the machine must not end before it. tcdrain(3) of
 * stdout and stderr, and no matter if they are no terminals. */
static void drain(void)
{
	syscall3(__NR_ioctl, 1, TCSBRK, 1);
	syscall3(__NR_ioctl, 2, TCSBRK, 1);
}

/* 0 to 255, or -1. */
static int code_of(const char *s)
{
	int code = 0;

	if (!*s)
		return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -1;
		code = code * 10 + (*s - '0');
		if (code > 255)
			return -1;
	}
	return code;
}

static void out_byte(unsigned short port, unsigned char value)
{
	if (syscall3(__NR_ioperm, port, 1, 1) != 0)
		complain(DENIED, sizeof(DENIED) - 1);
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

/* `stack` is as the kernel leaves it: argc, then argv. */
static __attribute__((used)) _Noreturn void ttexit_main(const long *stack)
{
	long argc = stack[0];
	const char *const *argv = (const char *const *)(stack + 1);

	if (argc == 2 && equal(argv[1], "ready")) {
		out_byte(PLATFORM_POWER_READY, 1);
		leave(0);
	}
	if (argc == 3 && equal(argv[1], "exit") && code_of(argv[2]) >= 0) {
		drain();
		out_byte(PLATFORM_EXIT_PORT, (unsigned char)code_of(argv[2]));
		leave(1); /* we came back: nothing listens at that port */
	}
	complain(USAGE, sizeof(USAGE) - 1);
}

__asm__(".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call ttexit_main\n");
