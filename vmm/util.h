/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small helpers with no state: sizes, alignment, containers and the cleanup
 * attributes. Everything here may be called from any thread.
 */
#ifndef TINTYPE_UTIL_H
#define TINTYPE_UTIL_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define KIB(n)	      ((uint64_t)(n) << 10)
#define MIB(n)	      ((uint64_t)(n) << 20)
#define GIB(n)	      ((uint64_t)(n) << 30)

#define PAGE_BYTES UINT64_C(4096)
#define PAGE_SHIFT 12

#define container_of(p, type, member)                                          \
	((type *)(void *)((char *)(p)-offsetof(type, member)))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* `align` is a power of two; the caller has made sure that v + align fits. */
static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

/* True when [at, at + len) lies within [0, size): by subtraction, so that no
 * sum can wrap. The one range check of the project. */
static inline bool range_within(uint64_t at, uint64_t len, uint64_t size)
{
	return len <= size && at <= size - len;
}

static inline bool mem_is_zero(const void *p, size_t len)
{
	const uint8_t *b = p;

	while (len && *b == 0) {
		b++;
		len--;
	}
	return len == 0;
}

/*
 * Room for `need` items in a growing array: `array` is the address of the
 * pointer to its items, *room how many it has room for now. What is added is
 * zeroed. 0, or -ENOMEM and nothing has changed.
 */
static inline int array_reserve(void *array, size_t *room, size_t need,
				size_t item_bytes)
{
	size_t more = MAX(MAX(need, 2 * *room), 64);
	char *p;

	if (need <= *room)
		return 0;
	p = reallocarray(*(void **)array, more, item_bytes);
	if (!p)
		return -ENOMEM;
	memset(p + *room * item_bytes, 0, (more - *room) * item_bytes);
	*(void **)array = p;
	*room = more;
	return 0;
}

/* CLOCK_MONOTONIC, which no one sets. */
static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline int64_t now_ms(void)
{
	return (int64_t)(now_ns() / 1000000);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_unlock(pthread_mutex_t **m)
{
	if (*m)
		pthread_mutex_unlock(*m);
}

static inline pthread_mutex_t *lock_taken(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

#define _cleanup_close_ __attribute__((cleanup(cleanup_close)))
#define _cleanup_free_	__attribute__((cleanup(cleanup_free)))

#define LOCKED_PASTE2(a, b) a##b
#define LOCKED_PASTE(a, b)  LOCKED_PASTE2(a, b)
/* Holds `m` until the end of the enclosing block. */
#define _locked_(m)                                                            \
	__attribute__((cleanup(cleanup_unlock), unused)) pthread_mutex_t *     \
	LOCKED_PASTE(locked_, __LINE__) = lock_taken(m)

/* Gives the fd away: the local no longer closes it. */
static inline int steal_fd(int *fd)
{
	int f = *fd;

	*fd = -1;
	return f;
}

#endif
