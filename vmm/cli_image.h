/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs of `image` share. Owner: the main thread. */
#ifndef TINTYPE_CLI_IMAGE_H
#define TINTYPE_CLI_IMAGE_H

#include "cli.h"
#include "cli_progress.h"
#include "disk_copy.h"
#include "disk_view.h"
#include "hash.h"

/* So many of a layer's roots are listed: a damaged one, or one that someone
 * made to hurt, may have millions. */
#define MAX_ROOTS 64

/* All layers of a verb have the same secret. */
struct image_verb {
	const struct options *o;
	struct layer_set *set;
	struct layer_set *other; /* or NULL */
	struct mac_key secret;	 /* --key-file */
	bool has_secret, json;
	struct cli_progress progress;
};

/* Reads --key-file, --json and --progress, where the verb has them; `what`:
 * of which the progress is told. 0, or -errno; image_verb_end in any case. */
int image_verb_begin(struct image_verb *v, const struct options *o,
		     const char *what, struct fail *why);
void image_verb_end(struct image_verb *v);

/* What is opened from now on does not share its layers with what was opened
 * before, which stays. Once a verb. */
int image_verb_part(struct image_verb *v, struct fail *why);

/* Closes all layers, and begins anew. */
int image_verb_anew(struct image_verb *v, struct fail *why);

/* Opens a view of what `path` is, with --root and --below where the verb has
 * them. */
int image_verb_view(struct image_verb *v, const char *path, bool only_images,
		    struct disk_view **view, struct fail *why);

/* Progress for snapshot/'s. */
struct disk_progress image_verb_progress(struct image_verb *v);

/* 32 hexadecimal digits. */
#define UID_TEXT (2 * UID_BYTES + 1)
void uid_text(char text[UID_TEXT], const uint8_t uid[UID_BYTES]);

#endif
