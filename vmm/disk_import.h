/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A qcow2 file's content as a raw file, by qemu-img, which is told the format
 * and gets the file by its fd, so that no name is taken for a protocol. An
 * image that refers to other files (a backing file, a data file), or is
 * encrypted, is refused: what it names could be any file of the user's.
 *
 * Owner: the thread that starts the VM. It waits for qemu-img; a signal that
 * ends us from the terminal ends that as well.
 */
#ifndef TINTYPE_DISK_IMPORT_H
#define TINTYPE_DISK_IMPORT_H

#include "fail.h"

/* Into the new file `name` in `dir`, synced. `object` for messages. Progress
 * goes to stderr. 0, or -errno with `why`, and `name` is not there. */
int disk_import_qcow2(int source_fd, int dir, const char *name,
		      const char *object, struct fail *why);

#endif
