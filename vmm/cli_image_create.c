/* SPDX-License-Identifier: Apache-2.0 */
/* `image create`: a raw file becomes a sealed layer. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_image.h"
#include "fileio.h"
#include "key_file.h"
#include "layer_dir.h"
#include "new_file.h"

struct creating {
	struct image_verb v;
	const char *raw_path, *path;
	struct disk_view *raw, *parent;
	struct stat before; /* of the raw file */
	struct new_file file;
	struct draft *draft;
	struct draft_counts counts;
	struct object_id id;
	uint64_t file_bytes;
};

/* ---- what is no raw file ---- */

#define SECTOR_BYTES 512

/* How such a file begins, or how its last sector does. */
static const struct format {
	const char *magic, *name; /* NULL: our own */
	bool at_end;
} formats[] = {
	{ "QFI\xfb", "qcow2", false },
	{ "KDMV", "VMDK", false },
	{ "# Disk DescriptorFile", "VMDK", false },
	{ "<<< ", "VDI", false },
	{ "vhdxfile", "VHDX", false },
	{ "conectix", "VHD", false },
	{ "conectix", "VHD", true },
	{ LAYER_MAGIC, NULL, false },
};

/* The sector where byte `at` is, which begins a sector. */
static int read_sector(const struct creating *c, uint64_t at,
		       char sector[SECTOR_BYTES], struct fail *why)
{
	uint8_t buf[PAGE_BYTES];
	struct where w;
	int err = disk_view_locate(c->raw, at >> PAGE_SHIFT, 1, &w, why);

	if (!err)
		err = disk_view_read(c->raw, at >> PAGE_SHIFT, &w, buf, why);
	if (!err)
		memcpy(sector, buf + at % PAGE_BYTES, SECTOR_BYTES);
	return err;
}

static int refuse_format(const struct creating *c, const struct format *f,
			 struct fail *why)
{
	if (f->name)
		return fail_set(why, EXIT_USAGE, -EINVAL, c->raw_path,
				"qemu-img convert -O raw FILE FILE.raw, or "
				"--format raw if it is raw",
				"looks like %s, not like a raw disk", f->name);
	return fail_set(why, EXIT_USAGE, -EINVAL, c->raw_path,
			"see 'tintype image info', or --format raw to put it "
			"into another",
			"is already an image");
}

/* A person's mistake; that what a guest wrote looks like another format is
 * rare, and no harm comes of being asked. */
static int check_format(const struct creating *c, struct fail *why)
{
	uint64_t bytes = disk_view_bytes(c->raw);
	char first[SECTOR_BYTES], last[SECTOR_BYTES];
	int err;

	if (options_has(c->v.o, "format"))
		return 0;
	err = read_sector(c, 0, first, why);
	if (!err)
		err = read_sector(c, (bytes - 1) / SECTOR_BYTES * SECTOR_BYTES,
				  last, why);
	for (unsigned i = 0; i < ARRAY_SIZE(formats) && !err; i++) {
		const struct format *f = &formats[i];

		if (!memcmp(f->at_end ? last : first, f->magic,
			    strlen(f->magic)))
			err = refuse_format(c, f, why);
	}
	return err;
}

static int check_size(const struct creating *c, struct fail *why)
{
	uint64_t bytes = disk_view_bytes(c->raw);

	if (bytes == 0)
		return fail_set(why, EXIT_USAGE, -EINVAL, c->raw_path,
				"give a disk of at least 512 bytes",
				"is empty");
	if (check_format(c, why))
		return -EINVAL;
	if (bytes % 512)
		return fail_set(why, EXIT_USAGE, -EINVAL, c->raw_path,
				"let it end in zeroes: truncate -s %512 FILE",
				"%" PRIu64 " bytes are no multiple of 512",
				bytes);
	if (bytes > IMAGE_MAX_BYTES)
		return fail_set(why, EXIT_USAGE, -EFBIG, c->raw_path, NULL,
				"is larger than an image can be (4 PiB)");
	return 0;
}

static int open_raw(struct creating *c, struct fail *why)
{
	/* No set: opened as raw, whatever it begins with. */
	struct disk_view_options o = { 0 };
	int err = disk_view_open(&c->raw, c->raw_path, &o, why);
	uint64_t size;

	/* As other programs have it: a name, and how large it shall be. */
	if (err == -ENOENT && !config_parse_size(c->path, &size))
		return fail_set(why, EXIT_NOT_FOUND, err, c->raw_path,
				"for a new disk: truncate -s SIZE FILE, then "
				"make an image of it",
				"is not there");
	if (!err && fstat(disk_view_raw_fd(c->raw), &c->before) < 0)
		err = file_failed(c->raw_path, -errno, "open", why);
	return err ? err : check_size(c, why);
}

static int open_parent(struct creating *c, struct fail *why)
{
	const struct option_use *use = options_find(c->v.o, "parent");
	uint64_t bytes = disk_view_bytes(c->raw);
	int err;

	if (!use)
		return 0;
	err = image_verb_view(&c->v, use->value, true, &c->parent, why);
	if (err)
		return err;
	if (disk_view_kind(c->parent) == DISK_HEAD)
		return fail_set(why, EXIT_WRONG_STATE, -EBUSY, use->value,
				"give a sealed layer",
				"is a head, which may still change");
	if (disk_view_bytes(c->parent) > bytes)
		return fail_set(why, EXIT_USAGE, -EINVAL, use->value,
				"give another parent, or none",
				"has %" PRIu64 " bytes, more than the %" PRIu64
				" of %s",
				disk_view_bytes(c->parent), bytes, c->raw_path);
	return 0;
}

/* It cannot be read where its parent, and what that needs, is not. */
static int check_place(const struct creating *c, struct fail *why)
{
	const char *slash = strrchr(c->path, '/');
	struct layer_dir *d = NULL;
	int err = layer_dir_open(&d, c->path, why);

	for (unsigned i = 0; i < layer_set_count(c->v.set) && !err; i++) {
		const struct layer *l = layer_set_at(c->v.set, i);
		struct layer_dir_file f;
		char hint[sizeof(why->hint)];

		if (!layer_dir_find_id(d, layer_id(l), &f)) {
			close(f.fd);
			continue;
		}
		snprintf(hint, sizeof(hint),
			 "put it into %.*s, or the image beside it",
			 slash ? (int)(slash + 1 - c->path) : 2,
			 slash ? c->path : "./");
		err = fail_set(why, EXIT_USAGE, -EXDEV, layer_name(l), hint,
			       "is not in the directory of %s, which would "
			       "need it there",
			       c->path);
	}
	layer_dir_close(d);
	return err;
}

static int begin_draft(struct creating *c, struct fail *why)
{
	const struct options *o = c->v.o;
	uint8_t uid[UID_BYTES], key[LAYER_KEY_BYTES];
	struct draft_options d = {
		.fd = c->file.fd,
		.name = c->path,
		.bytes = disk_view_bytes(c->raw),
		.base = c->parent ? disk_view_image(c->parent) : NULL,
		.uid = uid,
	};
	int err = random_bytes(uid, sizeof(uid));

	if (err)
		return file_failed(c->path, err, "create", why);
	if (options_has(o, "compress"))
		d.flags |= LAYER_COMPRESSED;
	if (options_has(o, "encrypt")) {
		d.flags |= LAYER_ENCRYPTED;
		d.key = key;
		key_file_layer_key(&c->v.secret, uid, key);
	}
	err = draft_create(&c->draft, &d, why);
	explicit_bzero(key, sizeof(key));
	if (err == -EOPNOTSUPP)
		fail_set(why, EXIT_INCOMPATIBLE, err, c->path, NULL,
			 "this processor has no AES to encrypt with");
	return err;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Half of one state and half of another would be none that ever was. */
static int check_unchanged(const struct creating *c, struct fail *why)
{
	const struct stat *before = &c->before;
	struct stat now;

	if (fstat(disk_view_raw_fd(c->raw), &now) < 0)
		return file_failed(c->raw_path, -errno, "read", why);
	/* The times of content can be set back, that of the inode cannot. */
	if (now.st_dev == before->st_dev && now.st_ino == before->st_ino &&
	    now.st_size == before->st_size &&
	    same_time(&now.st_mtim, &before->st_mtim) &&
	    same_time(&now.st_ctim, &before->st_ctim))
		return 0;
	return fail_set(why, EXIT_CONFLICT, -EBUSY, c->raw_path,
			"stop what writes to it, and try again",
			"changed while it was read");
}

static int import(struct creating *c, struct fail *why)
{
	struct disk_progress p = image_verb_progress(&c->v);
	int err = disk_import(c->draft, c->raw, c->parent != NULL, &p, why);

	if (!err)
		err = check_unchanged(c, why);
	if (!err)
		err = draft_seal(c->draft, &c->id, why);
	if (!err)
		err = cli_cancelled(c->path, why);
	draft_count(c->draft, &c->counts);
	if (!err && file_bytes(c->file.fd, &c->file_bytes))
		err = file_failed(c->path, -EIO, "create", why);
	return err ? err : new_file_commit(&c->file, why);
}

static int usage(const char *option, const char *hint, const char *message,
		 struct fail *why)
{
	char object[sizeof(why->object)];

	snprintf(object, sizeof(object), "image create: %s", option);
	return fail_set(why, EXIT_USAGE, -EINVAL, object, hint, "%s", message);
}

/* Whether the parent, or what it needs, is encrypted. */
static bool parent_encrypted(const struct creating *c)
{
	for (unsigned i = 0; i < layer_set_count(c->v.set); i++)
		if (layer_flags(layer_set_at(c->v.set, i)) & LAYER_ENCRYPTED)
			return true;
	return false;
}

/* Nothing is stored readable by who thinks that it is not. */
static int check_secrecy(const struct creating *c, struct fail *why)
{
	const struct options *o = c->v.o;

	if (options_has(o, "encrypt"))
		return 0;
	if (!parent_encrypted(c))
		return c->v.has_secret
			   ? usage("--key-file",
				   "add --encrypt, or leave it out",
				   "nothing is encrypted by it", why)
			   : 0;
	if (options_has(o, "plain"))
		return 0;
	return fail_set(why, EXIT_USAGE, -EINVAL, c->path,
			"add --encrypt, or --plain to store it readable",
			"is not encrypted, and its parent is");
}

static int check_options(const struct creating *c, struct fail *why)
{
	const struct options *o = c->v.o;
	const struct option_use *format = options_find(o, "format");

	if (format && strcmp(format->value, "raw"))
		return usage("--format",
			     "convert it by qemu-img convert -O raw",
			     "only raw files can be read", why);
	if (!strcmp(c->raw_path, "-"))
		return usage("-", "give a file or a block device",
			     "standard input is not supported", why);
	if (!strcmp(c->path, "-"))
		return usage("-", "give the name of a file, or ./- for that",
			     "an image cannot go to standard output", why);
	if (!options_has(o, "encrypt"))
		return 0;
	if (options_has(o, "plain"))
		return usage("--plain", "leave one of them out",
			     "contradicts --encrypt", why);
	return c->v.has_secret
		   ? 0
		   : usage("--encrypt", "add --key-file FILE, 32 random bytes",
			   "needs a key", why);
}

static int create(struct creating *c, struct fail *why)
{
	int err;

	if ((err = check_options(c, why)) || (err = open_raw(c, why)) ||
	    (err = open_parent(c, why)) || (err = check_secrecy(c, why)) ||
	    (err = new_file_create(&c->file, c->path, 0444, why)) ||
	    (err = check_place(c, why)))
		return err;
	err = begin_draft(c, why);
	return err ? err : import(c, why);
}

static int tell(const struct creating *c, struct fail *why)
{
	const struct draft_counts *n = &c->counts;
	char id[ID_TEXT];

	object_id_text(id, &c->id);
	if (c->v.json)
		return cli_print_json(
		    json_pack("{s:s, s:o, s:I, s:I, s:I, s:{s:I, s:I, s:I}}",
			      "id", id, "file", cli_json_text(c->path), "bytes",
			      (json_int_t)disk_view_bytes(c->raw), "file_bytes",
			      (json_int_t)c->file_bytes, "stored_pages",
			      (json_int_t)n->stored_pages, "pages", "full",
			      (json_int_t)n->full, "differences",
			      (json_int_t)n->diffs, "zero",
			      (json_int_t)n->zero),
		    why);
	printf("%s\n", id);
	return cli_flush(EXIT_OK, why);
}

int cli_image_create(const struct options *o, struct fail *why)
{
	struct creating c = {
		.raw_path = o->operand[0],
		.path = o->operand[1],
		.file = NEW_FILE_NONE,
	};
	int err = image_verb_begin(&c.v, o, c.raw_path, why);

	if (!err)
		err = create(&c, why);
	if (err == -ECANCELED)
		fail_about(why, "%s", c.path);
	cli_progress_end(&c.v.progress);
	err = err ? (int)why->code : tell(&c, why);
	draft_destroy(c.draft);
	new_file_discard(&c.file);
	disk_view_close(c.raw);
	disk_view_close(c.parent);
	image_verb_end(&c.v);
	return err;
}
