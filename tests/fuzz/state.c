/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a machine's state. The first byte chooses: from TABLES on, the
 * whole file by its names and by the tables of a machine with one vCPU; below,
 * the rest is the fields of one section of that table. Refused with an object
 * and a reason, or written again byte for byte.
 */
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "need.h"
#include "state_file.h"
#include "util.h"
#include "vcpu_state.h"

enum { MACHINE_TABLES = 4, TABLES = MACHINE_TABLES + VCPU_ITEMS };

static const struct {
	uint8_t table;
	const char *instance;
} order[] = {
	{ 0, "machine" }, { 1, "clock" },  { 2, "pic0" },
	{ 2, "pic1" },	  { 3, "ioapic" },
};

static const struct state_desc *table(unsigned i)
{
	return i < MACHINE_TABLES ? machine_saved_table(i)
				  : vcpu_items[i - MACHINE_TABLES].desc;
}

/* Any of the structs. */
static union {
	struct vcpu_state vcpu;
	uint8_t machine[4096];
} st;

static int one(struct state_reader *r, struct state_writer *w,
	       const struct state_desc *d, const char *instance, void *to,
	       struct fail *why)
{
	int err = state_reader_get(r, d, instance, to, why);

	if (!err)
		state_writer_put(w, d, instance, to);
	return err;
}

static int whole(struct state_reader *r, struct state_writer *w,
		 struct fail *why)
{
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(order) && !err; i++)
		err = one(r, w, table(order[i].table), order[i].instance, &st,
			  why);
	for (unsigned i = 0; i < VCPU_ITEMS && !err; i++)
		err = one(r, w, vcpu_items[i].desc, "vcpu0",
			  vcpu_item_of(&st.vcpu, (enum vcpu_item_id)i), why);
	return err ? err : vcpu_state_judge(&st.vcpu, "vcpu0", why);
}

static int section(struct state_reader *r, struct state_writer *w, unsigned t,
		   struct fail *why)
{
	bool of_vcpu = t >= MACHINE_TABLES;
	void *to = of_vcpu ? vcpu_item_of(&st.vcpu, t - MACHINE_TABLES) : &st;
	int err = one(r, w, table(t), "x", to, why);

	return err ? err : of_vcpu ? vcpu_state_judge(&st.vcpu, "x", why) : 0;
}

static int count(void *ctx, const struct state_value *v)
{
	uint64_t *sum = ctx;

	need(v->section[0] && v->instance[0] && v->field[0]);
	for (unsigned i = 0; i < v->count; i++)
		*sum += state_value_at(v, i);
	return 0;
}

static void judge(const uint8_t *file, size_t len, unsigned t)
{
	struct state_writer w = { 0 };
	struct state_reader r;
	struct fail why = { .code = EXIT_OK };
	uint64_t sum = 0;
	uint8_t *again = NULL;
	size_t n = 0;
	int each = state_file_each(file, len, count, &sum, &why);
	int err = state_reader_init(&r, file, len, &why);

	memset(&st, 0, sizeof(st));
	if (!err)
		err =
		    t < TABLES ? section(&r, &w, t, &why) : whole(&r, &w, &why);
	if (!err)
		err = state_reader_end(&r, &why);
	if (err)
		need(why.object[0] && why.message[0] &&
		     (why.code == EXIT_INTEGRITY ||
		      why.code == EXIT_INCOMPATIBLE));
	if (state_writer_end(&w, &again, &n) == 0 && !err)
		need(!each && n == len && memcmp(again, file, len) == 0);
	free(again);
}

/* The fields as the only section, "x", of a file. */
static uint8_t *wrap(const struct state_desc *d, const uint8_t *fields,
		     size_t len, size_t *out)
{
	size_t name = strlen(d->name), bytes = 8 + name + 1 + len;
	uint32_t head[] = { STATE_FILE_VERSION, 1 }, section = (uint32_t)bytes;
	uint64_t all = 24 + bytes;
	uint8_t *p = malloc(all);

	need(p);
	*out = all;
	memcpy(p, "ttstate\n", 8);
	memcpy(p + 8, head, sizeof(head));
	memcpy(p + 16, &all, sizeof(all));
	memcpy(p + 24, &section, sizeof(section));
	memcpy(p + 28, &d->version, 2);
	p[30] = (uint8_t)name;
	p[31] = 1;
	memcpy(p + 32, d->name, name);
	p[32 + name] = 'x';
	memcpy(p + 33 + name, fields, len);
	return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *file;
	size_t len;

	if (size < 1 || size > STATE_FILE_MAX / 2)
		return 0;
	if (data[0] < TABLES) {
		file = wrap(table(data[0]), data + 1, size - 1, &len);
	} else {
		/* Of just that size, for ASan. */
		file = malloc(size);
		need(file);
		len = size - 1;
		memcpy(file, data + 1, len);
	}
	judge(file, len, data[0]);
	free(file);
	return 0;
}
