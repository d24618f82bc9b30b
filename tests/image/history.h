/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each sector of a disk may hold after a crash: its content at the last
 * flush that has returned, or anything that was written to it since that flush
 * began. Contents are compared whole, so another sector's never pass.
 */
#ifndef TINTYPE_HISTORY_H
#define TINTYPE_HISTORY_H

#include "powercut.h"

struct history;

/* All of the disk is durable as `content`. */
struct history *history_create(uint64_t sectors, const uint8_t *content);
void history_destroy(struct history *h);

/* `data` NULL: zeroes. Called before the write is made. */
void history_write(struct history *h, uint64_t sector, uint64_t count,
		   const uint8_t *data);
void history_flush_begins(struct history *h);
void history_flush_ended(struct history *h);

/* The content of now. */
const uint8_t *history_now(const struct history *h, uint64_t sector);
/* The first sector of the disk in `content` that may not be so, or UINT64_MAX.
 */
uint64_t history_wrong(const struct history *h, const uint8_t *content);

#endif
