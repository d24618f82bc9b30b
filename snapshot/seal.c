/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing: see docs/image-format.md, "Metadata". */
#include "seal.h"

#include "radix.h"

static int build(const struct seal *s, struct layer_root *root, unsigned *n,
		 struct fail *why)
{
	struct blockmap_cursor first = { .map = s->map };
	struct blockmap_cursor second = { .map = s->second };
	struct image nothing;
	int err = radix_build(s->writer, s->base, s->bytes,
			      blockmap_next_extent, &first, &root[0], why);

	*n = 1;
	if (err || !s->second)
		return err;
	*n = 2;
	image_init_empty(&nothing, s->second_bytes);
	return radix_build(s->writer, &nothing, s->second_bytes,
			   blockmap_next_extent, &second, &root[1], why);
}

int seal_layer(const struct seal *s, struct object_id *id, struct fail *why)
{
	struct layer_writer *w = s->writer;
	struct layer_root root[2];
	unsigned nroots;
	int err;

	layer_writer_section(w, SECTION_NODES);
	err = build(s, root, &nroots, why);
	if (err)
		return err;
	layer_writer_section(w, SECTION_SUMS);
	err = s->sums(s->ctx, w, why);
	if (err)
		return err;
	layer_writer_section(w, SECTION_DIFFS);
	err = s->diffs ? s->diffs(s->ctx, w, why) : 0;
	if (!err)
		err = layer_writer_imports(w, why);
	if (err)
		return err;
	layer_writer_section(w, SECTION_ROOTS);
	err = layer_writer_put(w, root, nroots, why);
	return err ? err : layer_writer_end(w, id, why);
}
