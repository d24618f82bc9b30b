/* SPDX-License-Identifier: Apache-2.0 */
/* `image export`: an image becomes a raw file. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_image.h"
#include "fileio.h"
#include "new_file.h"

static int usage(const char *what, const char *hint, const char *message,
		 struct fail *why)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, what, hint, "%s", message);
}

static int to_stdout(struct image_verb *v, const struct disk_view *view,
		     struct fail *why)
{
	struct disk_progress p = image_verb_progress(v);

	if (v->json)
		return usage("image export: --json",
			     "leave it out, or give a file",
			     "the image itself goes to stdout", why);
	if (cli_stdout_closed())
		return fail_set(why, EXIT_FAILED, -EBADF, "stdout",
				"redirect it, or give a file", "is closed");
	if (isatty(STDOUT_FILENO))
		return usage("stdout", "redirect it, or give a file",
			     "an image is not for a terminal", why);
	return disk_stream(STDOUT_FILENO, "stdout", view, &p, why);
}

static int tell(const struct image_verb *v, const char *path, int fd,
		uint64_t bytes, struct fail *why)
{
	struct stat st = { 0 };

	if (!v->json)
		return 0;
	fstat(fd, &st);
	return cli_print_json(json_pack("{s:o, s:I, s:I}", "file",
					cli_json_text(path), "bytes",
					(json_int_t)bytes, "allocated_bytes",
					(json_int_t)st.st_blocks * 512),
			      why);
}

/* Nobody must be led to remove a device; what is there else, new_file says. */
static int refuse_device(const char *path, struct fail *why)
{
	struct stat st;

	if (stat(path, &st) < 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		return 0;
	return fail_set(
	    why, EXIT_CONFLICT, -EEXIST, path,
	    "write it by 'tintype image export IMAGE - | dd of=...'", "is a %s",
	    S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode) ? "device"
						       : "pipe or socket");
}

static int to_file(struct image_verb *v, const struct disk_view *view,
		   const char *path, struct fail *why)
{
	struct disk_progress p = image_verb_progress(v);
	struct new_file f = NEW_FILE_NONE;
	int err = refuse_device(path, why);

	if (!err)
		err = new_file_create(&f, path, 0666, why);
	if (!err)
		err = disk_export(f.fd, path, view, &p, why);
	if (!err)
		err = new_file_commit(&f, why);
	cli_progress_end(&v->progress);
	if (!err)
		err = tell(v, path, f.fd, disk_view_bytes(view), why);
	new_file_discard(&f);
	return err;
}

int cli_image_export(const struct options *o, struct fail *why)
{
	struct disk_view *view = NULL;
	struct image_verb v;
	int err = image_verb_begin(&v, o, o->operand[0], why);

	if (!err)
		err = image_verb_view(&v, o->operand[0], true, &view, why);
	if (!err && !strcmp(o->operand[1], "-"))
		err = to_stdout(&v, view, why);
	else if (!err)
		err = to_file(&v, view, o->operand[1], why);
	if (err == -ECANCELED)
		fail_about(why, "%s", o->operand[1]);
	disk_view_close(view);
	image_verb_end(&v);
	return err ? (int)why->code : EXIT_OK;
}
