/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demo guest's ELF file, built from guest/demo and part of the program:
 * what `tintype run` boots without --kernel.
 */
#ifndef TINTYPE_DEMO_GUEST_H
#define TINTYPE_DEMO_GUEST_H

extern const unsigned char demo_guest_start[], demo_guest_end[];

#endif
