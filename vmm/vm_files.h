/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vm_run does with the files that it was given, as a whole. Private to
 * vm*.c. Owner: the thread that calls vm_run.
 */
#ifndef TINTYPE_VM_FILES_H
#define TINTYPE_VM_FILES_H

#include "fail.h"
#include "vm.h"

/* The console's ends become the VM's own; from here on no fd but these, no
 * file, no privilege. 0 or -errno with `why`. */
int vm_files_confine(struct vm_files *f, struct fail *why);

/* Those that nobody has taken over, of those that somebody would. */
void vm_files_close(struct vm_files *f);

#endif
