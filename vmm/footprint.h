/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process's own memory, once the guest runs: what only the start needed is
 * given back.
 */
#ifndef TINTYPE_FOOTPRINT_H
#define TINTYPE_FOOTPRINT_H

/*
 * Returns free heap to the kernel and unmaps the program's clean pages (code
 * and constants); what is still used comes back from the page cache at its next
 * use. Takes some 50 us: not while somebody waits. I/O thread.
 */
void footprint_trim(void);

#endif
