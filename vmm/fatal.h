/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a process that has a bug. Any thread, inside the sandbox too. */
#ifndef TINTYPE_FATAL_H
#define TINTYPE_FATAL_H

/* As abort(3), by one system call. Whoever calls it has said why. */
__attribute__((noreturn)) void fatal_abort(void);

#endif
