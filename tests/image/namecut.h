/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts for a tree of directories, as powercut.h is for the content of
 * files: what was done to names since a directory's last sync may be there or
 * not, each by itself; a file that was not synced may be there with half of its
 * content. Stricter than any file system with a journal.
 *
 * Fed by dirwrap.h's dir_after. Directories are only made, not removed.
 */
#ifndef TINTYPE_NAMECUT_H
#define TINTYPE_NAMECUT_H

#include <stdint.h>

#include "dirwrap.h"

/* What the directory `home` (which is empty) holds is watched from here on. */
void namecut_begin(int home);
void namecut_end(void);
/* dir_after. */
void namecut_take(const struct dir_call *c);

/* Makes one state after another in a directory of its own, whose fd `fn` gets;
 * all when there are few, else those likely to hurt and some at random. The
 * first one is that in which nothing is lost. Returns how many. */
uint64_t namecut_each(uint64_t *rng, void (*fn)(int home));

#endif
