/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a disk's head for the tests of `image`, as a VM would leave one:
 *
 *   mkhead FILE BYTES - | IMAGE | HEAD [BLOCK...]   what it lies on; blocks
 * that are written mkhead --seal FILE                              one that
 * lies on nothing
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_view.h"
#include "head.h"

static struct fail why;

static void check(int err)
{
	if (err >= 0)
		return;
	fprintf(stderr, "mkhead: %s: %s\n", why.object, why.message);
	exit(1);
}

static void lie_on(struct head_info *info, struct layer_set *s,
		   const char *path)
{
	struct disk_view_options o = { .set = s };
	struct disk_view *v;
	struct head_info below;
	int fd;

	if (!strcmp(path, "-"))
		return;
	check(disk_view_open(&v, path, &o, &why));
	if (disk_view_kind(v) == DISK_HEAD) {
		check(fd = open(path, O_RDONLY | O_CLOEXEC));
		check(head_read_info(fd, path, &below, &why));
		close(fd);
		info->below_kind = BELOW_HEAD;
		memcpy(info->below_uid, below.uid, UID_BYTES);
	} else {
		info->below_kind = BELOW_LAYER;
		info->below_layer = *layer_id(disk_view_image(v)->layer);
	}
	disk_view_close(v);
}

static void write_block(struct head *h, uint64_t block)
{
	uint8_t page[PAGE_BYTES];

	memset(page, (int)(block % 255 + 1), sizeof(page));
	check(head_write(h, block << PAGE_SHIFT, page, sizeof(page), &why));
}

static struct head *open_head(int fd, const char *path)
{
	struct head *h;

	check(head_open(&h, fd, path, &HEAD_BELOW_NOTHING, true, &why));
	return h;
}

static int seal(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct object_id id;
	struct head *h;

	check(fd);
	h = open_head(fd, path);
	head_freeze(h);
	check(head_seal(h, NULL, &id, &why));
	head_close(h);
	return 0;
}

int main(int argc, char **argv)
{
	struct head_info info = { 0 };
	struct layer_set *s;
	struct head *h;
	int fd;

	check(hash_init());
	if (argc == 3)
		return seal(argv[2]);
	s = layer_set_create(NULL, NULL);
	info.bytes = strtoull(argv[2], NULL, 10);
	lie_on(&info, s, argv[3]);
	check(fd = open(argv[1], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	check(head_create(fd, argv[1], &info, 0, &why));
	h = open_head(fd, argv[1]);
	for (int i = 4; i < argc; i++)
		write_block(h, strtoull(argv[i], NULL, 10));
	check(head_flush(h, &why));
	head_close(h);
	layer_set_destroy(s);
	return 0;
}
