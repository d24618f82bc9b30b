/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State declared once. A device's guest-visible state is one plain struct of
 * fixed-width unsigned integers and arrays of them; one table of rows
 * describes it, and checking, saving, printing, comparing and fuzzing are
 * generic over that table.
 */
#ifndef TINTYPE_STATE_H
#define TINTYPE_STATE_H

#include <stddef.h>
#include <stdint.h>

struct state_field {
	const char *name;
	uint16_t offset; /* bytes from the start of the struct */
	uint16_t count;	 /* elements; 1 for a scalar */
	uint8_t size;	 /* bytes of one element: 1, 2, 4 or 8 */
	uint8_t since;	 /* first version of the struct that had it */
};

struct state_desc {
	const char *name; /* "uart" */
	uint16_t version; /* the newest `since` */
	uint16_t nfields;
	size_t size; /* sizeof the struct */
	const struct state_field *fields;
};

#define STATE_MEMBER(T, f) (((T *)0)->f)
#define STATE_SIZE(x)                                                          \
	_Generic((x), uint8_t : 1, uint16_t : 2, uint32_t : 4, uint64_t : 8,   \
		 unsigned long long : 8) /* the kernel's __u64 */
#define STATE_IS_ARRAY(T, f)                                                   \
	(!__builtin_types_compatible_p(__typeof__(STATE_MEMBER(T, f)),         \
				       __typeof__(&STATE_MEMBER(T, f)[0])))
#define STATE(T, f, v)                                                         \
	{                                                                      \
#f, offsetof(T, f), 1, STATE_SIZE(STATE_MEMBER(T, f)), (v)     \
	}
#define STATE_ARRAY(T, f, v)                                                   \
	{                                                                      \
#f, offsetof(T, f),                                            \
		    sizeof(STATE_MEMBER(T, f)) /                               \
			    sizeof(STATE_MEMBER(T, f)[0]) +                    \
			0 * sizeof(struct {                                    \
				int not_an_array[STATE_IS_ARRAY(T, f) ? 1      \
								      : -1];   \
			}),                                                    \
		    STATE_SIZE(STATE_MEMBER(T, f)[0]), (v)                     \
	}
#define STATE_DESC(nm, ver, T, rows)                                           \
	{                                                                      \
		.name = (nm), .version = (ver), .nfields = ARRAY_SIZE(rows),   \
		.size = sizeof(T), .fields = (rows)                            \
	}

/*
 * 0 when the rows tile the struct: each starts where the one before it ended
 * and the last ends at `size`; -EINVAL otherwise. So adding a member without
 * a row, or padding, fails a test.
 */
int state_check(const struct state_desc *d);

/* One element as a number. `i` is below the field's count. */
uint64_t state_get(const struct state_field *f, const void *st, unsigned i);

/* Writes rows, "name=0x2a\n", an array of bytes as "name=00ff..\n", into `buf`
 * (always ends it with a NUL) and returns the length it would have needed, as
 * snprintf does. */
size_t state_print(const struct state_desc *d, const void *st, char *buf,
		   size_t len);

/* Calls `fn` for each element that differs; returns how many there were. */
unsigned state_diff(const struct state_desc *d, const void *a, const void *b,
		    void (*fn)(void *ctx, const struct state_field *f,
			       unsigned i, uint64_t a, uint64_t b),
		    void *ctx);

#endif
