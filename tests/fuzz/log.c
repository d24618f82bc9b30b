/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any file as a head: refused with an object and a reason, or opened, and then
 * every block can be read, writes work, and what was flushed is there when it
 * is opened again. The input is a list of patches to an empty head: a byte of
 * flags, then {kind, 3 bytes place, 2 bytes length, bytes}. With REPAIRED the
 * checks of header and roots are made right, and the log's sums are chained
 * anew, so that records of any kind get through.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fileio.h"
#include "head_impl.h"
#include "layer_writer.h"

enum { REPAIRED = 1, READ_ONLY = 2, SUMS_OF_DATA = 4 };

#define DISK_BLOCKS 40
#define FILE_PAGES  64
#define FILE_BYTES  (FILE_PAGES * PAGE_BYTES)

static _Alignas(8) uint8_t file[FILE_BYTES];

static void empty_head(void)
{
	struct layer_header h;
	struct log_root root = { .generation = 1, .slot = 1, .pages = 2 };

	memset(file, 0, sizeof(file));
	assert(layer_header_make(&h, 0, DISK_BLOCKS * PAGE_BYTES + 512) == 0);
	memset(h.uid, 7, sizeof(h.uid)); /* the same in each run */
	layer_header_seal(&h);
	memcpy(file, &h, sizeof(h));
	memcpy(root.magic, LOGROOT_MAGIC, sizeof(root.magic));
	hash_check(root.check, &root, offsetof(struct log_root, check));
	memcpy(file + LOG_ROOT_OFFSET(1), &root, sizeof(root));
}

/* ---- the input ---- */

struct input {
	const uint8_t *p;
	size_t left;
};

static uint32_t take(struct input *in, unsigned bytes)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
		v |= (uint32_t)*in->p++ << 8 * i;
	return v;
}

/* Bytes anywhere; in the log; a log root; the file's length. */
static size_t patch(struct input *in, size_t length)
{
	uint32_t kind = take(in, 1) % 4, place = take(in, 3);
	size_t n = take(in, 2), at = place % FILE_BYTES;

	if (kind == 1)
		at = PAGE_BYTES + place * 32 % (8 * PAGE_BYTES);
	else if (kind == 2)
		at = LOG_ROOT_OFFSET(place % 2) + 8;
	else if (kind == 3)
		return MIN(MAX(place, 1), FILE_BYTES);
	n = MIN(MIN(n, in->left), FILE_BYTES - at);
	memcpy(file + at, in->p, n);
	in->p += n;
	in->left -= n;
	return length;
}

/* ---- repair ---- */

static void repair_checks(void)
{
	struct layer_header h;

	memcpy(&h, file, sizeof(h));
	memcpy(h.magic, LAYER_MAGIC, sizeof(h.magic));
	h.version = LAYER_VERSION;
	if (h.bytes > MIB(8)) /* a map of terabytes is no finding */
		h.bytes = DISK_BLOCKS * PAGE_BYTES;
	layer_header_seal(&h);
	memcpy(file, &h, sizeof(h));
	for (unsigned i = 0; i < 2; i++) {
		struct log_root *r = (void *)(file + LOG_ROOT_OFFSET(i));

		hash_check(r->check, r, offsetof(struct log_root, check));
	}
}

static const struct log_root *last_root(void)
{
	const struct log_root *a = (const void *)(file + LOG_ROOT_OFFSET(0));
	const struct log_root *b = (const void *)(file + LOG_ROOT_OFFSET(1));

	if (memcmp(a->magic, LOGROOT_MAGIC, sizeof(a->magic)))
		return b;
	if (memcmp(b->magic, LOGROOT_MAGIC, sizeof(b->magic)))
		return a;
	return a->generation > b->generation ? a : b;
}

static void sum_data(struct log_record *r)
{
	r->sum = 0;
	for (uint32_t i = 0; i < r->count && r->slot + i < FILE_PAGES; i++)
		r->sum = sum64(file + (r->slot + i) * PAGE_BYTES, PAGE_BYTES,
			       r->sum);
}

/* Chains the sums along the log as recovery will walk it. */
static void repair_log(bool data)
{
	const struct log_root *root = last_root();
	uint64_t slot = root->slot, pages = root->pages, at = 0, commit = 1;
	uint64_t sum = log_seed((const void *)file, root->generation);
	uint32_t count = 0;

	for (unsigned n = 0; n < 4096 && slot < FILE_PAGES; n++) {
		uint64_t offset = slot * PAGE_BYTES + at * 32;
		struct log_record *r = (void *)(file + offset);

		if (at >= pages * LOG_PER_PAGE || offset >= FILE_BYTES ||
		    r->type == LOG_END || r->type > LOG_COMMIT)
			return;
		if (r->type == LOG_MAP && data && r->flags)
			sum_data(r);
		if (r->type == LOG_COMMIT) {
			r->count = count;
			r->block = commit++;
			r->sum = log_sum(sum, r);
		}
		sum = log_sum(sum, r);
		count = r->type == LOG_COMMIT ? 0 : count + 1;
		at++;
		if (r->type == LOG_NEXT) {
			slot = r->slot;
			pages = r->count;
			at = 0;
		}
	}
}

/* ---- what holds ---- */

static struct head *open_head(int fd, bool writable)
{
	struct fail why = { .code = EXIT_OK };
	struct head *h = NULL;
	int err =
	    head_open(&h, fd, "fuzz", &HEAD_BELOW_NOTHING, writable, &why);

	if (err)
		assert(why.code != EXIT_OK && why.object[0] && why.message[0]);
	return err ? NULL : h;
}

static uint8_t *read_all(struct head *h)
{
	uint8_t *content = malloc(head_bytes(h));

	assert(content);
	assert(head_read(h, 0, content, head_bytes(h), NULL) == 0);
	return content;
}

static void expect_same(int fd, const uint8_t *content)
{
	struct head *h = open_head(fd, true);
	uint8_t *again;

	assert(h);
	again = read_all(h);
	assert(memcmp(again, content, head_bytes(h)) == 0);
	free(again);
	head_close(h);
}

static void use(int fd, struct head *h)
{
	uint8_t *content = read_all(h);
	uint64_t bytes = head_bytes(h);

	for (uint64_t at = 0; at < bytes; at += 3 * PAGE_BYTES) {
		size_t n = MIN(bytes - at, 5000);

		memset(content + at, (int)(at >> PAGE_SHIFT) + 1, n);
		assert(head_write(h, at, content + at, n, NULL) == 0);
	}
	assert(head_flush(h, NULL) == 0);
	memset(content, 0, MIN(bytes, 2 * PAGE_BYTES));
	assert(head_zero(h, 0, MIN(bytes, 2 * PAGE_BYTES), NULL) == 0);
	assert(head_flush(h, NULL) == 0);
	head_close(h);
	expect_same(fd, content);
	free(content);
}

static void try_open(int fd, bool writable)
{
	struct head *h = open_head(fd, writable);

	if (!h)
		return;
	if (!writable) {
		uint8_t *content = read_all(h);

		head_close(h);
		expect_same(fd, content);
		free(content);
		return;
	}
	use(fd, h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	size_t length = FILE_BYTES;
	uint32_t flags = take(&in, 1);
	int fd;

	if (hash_init())
		return 0;
	empty_head();
	while (in.left)
		length = patch(&in, length);
	if (flags & REPAIRED) {
		repair_checks();
		repair_log(flags & SUMS_OF_DATA);
	}
	fd = memfd_create("head", MFD_CLOEXEC);
	assert(fd >= 0 && file_write(fd, 0, file, length) == 0);
	try_open(fd, !(flags & READ_ONLY));
	close(fd);
	return 0;
}
