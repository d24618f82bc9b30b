/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs of a Linux guest stand on instead of a C library, so that a
 * small initramfs stays small. Each is one file, and defines USAGE.
 */
#ifndef GUEST_LINUX_ALONE_H
#define GUEST_LINUX_ALONE_H

#include <asm/unistd.h>

static inline long syscall4(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
}

static inline long syscall3(long number, long a, long b, long c)
{
	return syscall4(number, a, b, c, 0);
}

static inline _Noreturn void leave(int code)
{
	for (;;)
		syscall3(__NR_exit, code, 0, 0);
}

static inline _Noreturn void complain(const char *text, unsigned long bytes)
{
	syscall3(__NR_write, 2, (long)text, (long)bytes);
	leave(2);
}

static inline int equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* Digits, at most `max`; or -1. */
static inline long number_of(const char *s, long max)
{
	long n = 0;

	if (!*s)
		return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -1;
		n = n * 10 + (*s - '0');
		if (n > max)
			return -1;
	}
	return n;
}

/* Where the program begins: `fn` gets the stack as the kernel leaves it, argc
 * and then argv, and does not return. */
#define ALONE_START(fn)                                                        \
	static __attribute__((used)) _Noreturn void alone_main(                \
	    const long *stack)                                                 \
	{                                                                      \
		fn(stack);                                                     \
	}                                                                      \
	__asm__(".globl _start\n"                                              \
		"_start:\n"                                                    \
		"	xor %ebp, %ebp\n"                                            \
		"	mov %rsp, %rdi\n"                                            \
		"	and $-16, %rsp\n"                                            \
		"	call alone_main\n")

#endif
