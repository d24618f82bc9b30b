/* SPDX-License-Identifier: Apache-2.0 */
/* AML, written front to back; lengths are put in when a thing is closed. */
#include "aml.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "util.h"

/* ACPI 6.4, 20.2 */
enum {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_DUAL_NAME = 0x2e,
	OP_MULTI_NAME = 0x2f,
	OP_EXT = 0x5b,
	OP_LOCAL0 = 0x60,
	OP_STORE = 0x70,
	OP_AND = 0x7b,
	OP_NOTIFY = 0x86,
	OP_IF = 0xa0,
	EXT_REGION = 0x80,
	EXT_FIELD = 0x81,
	EXT_DEVICE = 0x82,
	SEG = 4,
};

static void put(struct aml *a, const void *bytes, size_t n)
{
	if (a->full || !range_within(a->len, n, a->size)) {
		a->full = true;
		return;
	}
	memcpy(a->buf + a->len, bytes, n);
	a->len += n;
}

static void put_byte(struct aml *a, uint8_t b)
{
	put(a, &b, 1);
}

/* Little-endian, as AML and this machine are. */
static void put_word(struct aml *a, uint16_t v)
{
	put(a, &v, sizeof(v));
}

static void put_dword(struct aml *a, uint32_t v)
{
	put(a, &v, sizeof(v));
}

/* Makes room for `n` bytes at `at`, in front of what is there, and fills it. */
static void insert(struct aml *a, size_t at, const void *bytes, size_t n)
{
	if (a->full || !range_within(a->len, n, a->size)) {
		a->full = true;
		return;
	}
	memmove(a->buf + at + n, a->buf + at, a->len - at);
	memcpy(a->buf + at, bytes, n);
	a->len += n;
}

/* 20.2.4: one byte up to 63, else a count of further bytes and 4 bits in the
 * first. The length covers its own encoding. Returns how many bytes. */
static size_t encode_length(uint8_t out[4], size_t body)
{
	size_t extra = 1, total;

	if (body + 1 < 0x40) {
		out[0] = (uint8_t)(body + 1);
		return 1;
	}
	while (body + 1 + extra >= (size_t)1 << (4 + 8 * extra))
		extra++;
	assert(extra <= 3);
	total = body + 1 + extra;
	out[0] = (uint8_t)(extra << 6 | (total & 0xf));
	for (size_t i = 0; i < extra; i++)
		out[1 + i] = (uint8_t)(total >> (4 + 8 * i));
	return 1 + extra;
}

static void open_at(struct aml *a, size_t at, bool resources)
{
	assert(a->depth < AML_MAX_DEPTH);
	a->open[a->depth].at = at;
	a->open[a->depth].resources = resources;
	a->depth++;
}

static void put_seg(struct aml *a, const char *seg, size_t n)
{
	char s[SEG] = { '_', '_', '_', '_' };

	assert(n >= 1 && n <= SEG);
	memcpy(s, seg, n);
	put(a, s, SEG);
}

void aml_begin(struct aml *a, void *buf, size_t size)
{
	memset(a, 0, sizeof(*a));
	a->buf = buf;
	a->size = size;
}

int64_t aml_end(const struct aml *a)
{
	assert(a->depth == 0);
	return a->full ? -ENOSPC : (int64_t)a->len;
}

void aml_path(struct aml *a, const char *path)
{
	unsigned segs = 1;

	if (*path == '\\')
		put_byte(a, (uint8_t)*path++);
	for (const char *p = path; *p; p++)
		segs += *p == '.';
	if (segs == 2)
		put_byte(a, OP_DUAL_NAME);
	if (segs > 2) {
		put_byte(a, OP_MULTI_NAME);
		put_byte(a, (uint8_t)segs);
	}
	while (segs--) {
		size_t n = strcspn(path, ".");

		put_seg(a, path, n);
		path += n + 1;
	}
}

void aml_name(struct aml *a, const char *seg)
{
	put_byte(a, OP_NAME);
	put_seg(a, seg, strlen(seg));
}

void aml_integer(struct aml *a, uint64_t v)
{
	if (v <= 1) {
		put_byte(a, v ? OP_ONE : OP_ZERO);
	} else if (v <= UINT8_MAX) {
		put_byte(a, OP_BYTE);
		put_byte(a, (uint8_t)v);
	} else if (v <= UINT16_MAX) {
		put_byte(a, OP_WORD);
		put_word(a, (uint16_t)v);
	} else if (v <= UINT32_MAX) {
		put_byte(a, OP_DWORD);
		put_dword(a, (uint32_t)v);
	} else {
		put_byte(a, OP_QWORD);
		put(a, &v, sizeof(v));
	}
}

void aml_string(struct aml *a, const char *s)
{
	put_byte(a, OP_STRING);
	put(a, s, strlen(s) + 1);
}

static uint32_t hex_digit(char c)
{
	assert((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'));
	return (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of 5 bits and four hex digits, stored big-endian (6.1.5). */
void aml_eisaid(struct aml *a, const char *id)
{
	uint32_t v = 0;

	assert(strlen(id) == 7);
	for (unsigned i = 0; i < 3; i++)
		v = v << 5 | (uint32_t)(id[i] - 0x40);
	for (unsigned i = 3; i < 7; i++)
		v = v << 4 | hex_digit(id[i]);
	put_byte(a, OP_DWORD);
	put_dword(a, __builtin_bswap32(v));
}

void aml_open_scope(struct aml *a, const char *path)
{
	put_byte(a, OP_SCOPE);
	open_at(a, a->len, false);
	aml_path(a, path);
}

void aml_open_device(struct aml *a, const char *seg)
{
	put_byte(a, OP_EXT);
	put_byte(a, EXT_DEVICE);
	open_at(a, a->len, false);
	put_seg(a, seg, strlen(seg));
}

void aml_open_package(struct aml *a, uint8_t elements)
{
	put_byte(a, OP_PACKAGE);
	open_at(a, a->len, false);
	put_byte(a, elements);
}

void aml_open_method(struct aml *a, const char *seg, unsigned args,
		     bool serialized)
{
	assert(args <= 7);
	put_byte(a, OP_METHOD);
	open_at(a, a->len, false);
	put_seg(a, seg, strlen(seg));
	put_byte(a, (uint8_t)(args | (serialized ? 8 : 0)));
}

void aml_open_resources(struct aml *a)
{
	put_byte(a, OP_BUFFER);
	open_at(a, a->len, true);
}

void aml_close(struct aml *a)
{
	uint8_t length[4];
	size_t at;

	assert(a->depth > 0);
	at = a->open[--a->depth].at;
	if (a->full)
		return;
	if (a->open[a->depth].resources) {
		uint8_t size[3];
		size_t n;

		/* The end tag; checksum 0 counts as right (6.4.2.9). */
		put_word(a, 0x0079);
		n = a->len - at;
		assert(n <= UINT16_MAX);
		size[0] = n <= UINT8_MAX ? OP_BYTE : OP_WORD;
		size[1] = (uint8_t)n;
		size[2] = (uint8_t)(n >> 8);
		insert(a, at, size, n <= UINT8_MAX ? 2 : 3);
	}
	insert(a, at, length, encode_length(length, a->len - at));
}

void aml_name_integer(struct aml *a, const char *seg, uint64_t v)
{
	aml_name(a, seg);
	aml_integer(a, v);
}

void aml_name_string(struct aml *a, const char *seg, const char *s)
{
	aml_name(a, seg);
	aml_string(a, s);
}

void aml_name_eisaid(struct aml *a, const char *seg, const char *id)
{
	aml_name(a, seg);
	aml_eisaid(a, id);
}

void aml_io_field(struct aml *a, const char *region, const char *field,
		  uint16_t port, uint8_t bytes)
{
	enum { SYSTEM_IO = 1, DWORD_ACCESS = 3 };
	uint8_t bits[4];

	put_byte(a, OP_EXT);
	put_byte(a, EXT_REGION);
	put_seg(a, region, strlen(region));
	put_byte(a, SYSTEM_IO);
	aml_integer(a, port);
	aml_integer(a, bytes);

	put_byte(a, OP_EXT);
	put_byte(a, EXT_FIELD);
	open_at(a, a->len, false);
	put_seg(a, region, strlen(region));
	put_byte(a, DWORD_ACCESS); /* no lock, preserve */
	put_seg(a, field, strlen(field));
	/* A field's width is written as a length is, but counts only bits. */
	assert(bytes * 8 < 0x40);
	put(a, bits, encode_length(bits, bytes * 8u - 1));
	aml_close(a);
}

void aml_store_local(struct aml *a, const char *path, unsigned local)
{
	assert(local <= 7);
	put_byte(a, OP_STORE);
	aml_path(a, path);
	put_byte(a, (uint8_t)(OP_LOCAL0 + local));
}

void aml_open_if_bit(struct aml *a, unsigned local, uint32_t bit)
{
	assert(local <= 7);
	put_byte(a, OP_IF);
	open_at(a, a->len, false);
	put_byte(a, OP_AND);
	put_byte(a, (uint8_t)(OP_LOCAL0 + local));
	aml_integer(a, bit);
	put_byte(a, OP_ZERO); /* no target: only the value */
}

void aml_notify(struct aml *a, const char *path, uint8_t value)
{
	put_byte(a, OP_NOTIFY);
	aml_path(a, path);
	aml_integer(a, value);
}

void aml_resource_io(struct aml *a, uint16_t base, uint8_t bytes)
{
	put_byte(a, 0x47); /* 6.4.2.5 */
	put_byte(a, 1);	   /* decodes 16 bits */
	put_word(a, base);
	put_word(a, base);
	put_byte(a, 1); /* alignment */
	put_byte(a, bytes);
}

void aml_resource_memory(struct aml *a, uint32_t base, uint32_t bytes)
{
	put_byte(a, 0x86); /* 6.4.3.4 */
	put_word(a, 9);
	put_byte(a, 1); /* writable */
	put_dword(a, base);
	put_dword(a, bytes);
}

void aml_resource_irq(struct aml *a, uint32_t gsi)
{
	put_byte(a, 0x89); /* 6.4.3.6 */
	put_word(a, 6);
	put_byte(a, 0x03); /* consumer, edge; high, exclusive */
	put_byte(a, 1);	   /* one interrupt */
	put_dword(a, gsi);
}
