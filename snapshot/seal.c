/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing: see docs/image-format.md, "Metadata". */
#include "seal.h"

#include "radix.h"

int seal_layer(const struct seal *s, struct object_id *id, struct fail *why)
{
	struct blockmap_cursor from = { .map = s->map };
	struct layer_writer *w = s->writer;
	struct layer_root root;
	int err;

	layer_writer_section(w, SECTION_NODES);
	err = radix_build(w, s->base, s->bytes, blockmap_next_extent, &from,
			  &root, why);
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
	err = layer_writer_put(w, &root, 1, why);
	return err ? err : layer_writer_end(w, id, why);
}
