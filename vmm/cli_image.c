/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs of `image` share: keys, layers, views, progress. */
#include "cli_image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "key_file.h"
#include "log.h"

static int read_secret(struct image_verb *v, struct fail *why)
{
	const struct option_use *use = options_find(v->o, "key-file");
	int err = use ? key_file_read(&v->secret, use->value, why) : 0;

	v->has_secret = use && !err;
	return err;
}

static int make_set(struct image_verb *v, struct fail *why)
{
	v->set = layer_set_create(v->has_secret ? key_file_layer_key : NULL,
				  &v->secret);
	return v->set ? 0 : file_failed("layers", -ENOMEM, "open", why);
}

int image_verb_begin(struct image_verb *v, const struct options *o,
		     const char *what, struct fail *why)
{
	int err;

	*v = (struct image_verb){ .o = o, .json = options_has(o, "json") };
	cli_raise_file_limit();
	err = cli_progress_begin(&v->progress, o, what, why);
	if (!err && hash_init())
		err = fail_set(why, EXIT_FAILED, -EIO, "hash", NULL,
			       "cannot be initialised");
	if (!err)
		err = read_secret(v, why);
	return err ? err : make_set(v, why);
}

int image_verb_anew(struct image_verb *v, struct fail *why)
{
	layer_set_destroy(v->set);
	return make_set(v, why);
}

int image_verb_part(struct image_verb *v, struct fail *why)
{
	v->other = v->set;
	return make_set(v, why);
}

void image_verb_end(struct image_verb *v)
{
	cli_progress_end(&v->progress);
	layer_set_destroy(v->set);
	layer_set_destroy(v->other);
	explicit_bzero(&v->secret, sizeof(v->secret));
}

static int get_root(const struct options *o, uint32_t *root, struct fail *why)
{
	const struct option_use *use = options_find(o, "root");
	char object[sizeof(why->object)], *end;
	unsigned long n;

	*root = 0;
	if (!use)
		return 0;
	errno = 0;
	n = strtoul(use->value, &end, 10);
	*root = (uint32_t)n;
	if (use->value[0] >= '0' && use->value[0] <= '9' && !*end && !errno &&
	    n <= UINT32_MAX)
		return 0;
	snprintf(object, sizeof(object), "--root %s", use->value);
	return fail_set(why, EXIT_USAGE, -EINVAL, object,
			"see 'tintype image info'", "not a number");
}

int image_verb_view(struct image_verb *v, const char *path, bool only_images,
		    struct disk_view **view, struct fail *why)
{
	const struct option_use *below = options_find(v->o, "below");
	struct disk_view_options o = {
		.set = v->set,
		.only_images = only_images,
		.below = below ? below->value : NULL,
	};
	int err = get_root(v->o, &o.root, why);

	if (!err)
		err = disk_view_open(view, path, &o, why);
	if (!err && disk_view_wants_below(*view))
		log_warn(path, "where it and its layers have nothing, zeroes "
			       "are read: if it lies on a raw file, give that "
			       "by --below");
	return err;
}

struct disk_progress image_verb_progress(struct image_verb *v)
{
	return (struct disk_progress){ cli_progress_tell, &v->progress };
}

void uid_text(char text[UID_TEXT], const uint8_t uid[UID_BYTES])
{
	for (unsigned i = 0; i < UID_BYTES; i++)
		sprintf(text + (size_t)2 * i, "%02x", uid[i]);
}
