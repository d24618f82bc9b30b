/* SPDX-License-Identifier: Apache-2.0 */
/* Parents of VMs, read from their roots.json. */
#include "snapshot_keep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fileio.h"
#include "home.h"
#include "util.h"

static int add_parents(struct snapshot_keep *keep, const json_t *parents)
{
	const json_t *parent;
	size_t i;

	if (!json_is_array(parents))
		return -EBADMSG;
	json_array_foreach(parents, i, parent)
	{
		const char *text = json_string_value(parent);

		if (array_reserve(&keep->id, &keep->room, keep->n + 1,
				  sizeof(*keep->id)))
			return -ENOMEM;
		if (!text || !object_id_parse(&keep->id[keep->n], text))
			return -EBADMSG;
		keep->n++;
	}
	return 0;
}

static int read_roots(struct snapshot_keep *keep, const struct vm_dir *d,
		      struct fail *why)
{
	json_t *doc;
	int err;

	if (faccessat(d->fd, "roots.json", F_OK, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0
				       : file_failed(d->name, -errno,
						     "read roots.json of", why);
	doc = vm_dir_read_json(d, "roots.json");
	err = add_parents(keep, json_object_get(doc, "parents"));
	json_decref(doc);
	if (err == -EBADMSG)
		return fail_set(why, EXIT_INTEGRITY, err, d->name,
				"give up its disks' changes by 'tintype rm', "
				"or restore the file",
				"its roots.json cannot be read");
	return err ? file_failed(d->name, err, "read roots.json of", why) : 0;
}

static int read_vm(struct snapshot_keep *keep, int vms, const char *name,
		   struct fail *why)
{
	struct vm_dir d = VM_DIR_NONE;
	int err = home_find(vms, name, &d, why);

	if (err == -ENOENT) /* gone since we looked */
		return 0;
	if (!err)
		err = read_roots(keep, &d, why);
	if (!err) {
		err = file_sync_dir(d.fd);
		if (err)
			file_failed(name, err, "sync", why);
	}
	vm_dir_close(&d);
	return err;
}

static int is_vm_name(const struct dirent *e)
{
	return config_name_valid(e->d_name);
}

int snapshot_keep_read(struct snapshot_keep *keep, int vms, struct fail *why)
{
	struct dirent **names = NULL;
	int n, err = 0;

	*keep = (struct snapshot_keep){ .id = NULL };
	if (vms < 0)
		return 0;
	n = scandirat(vms, ".", &names, is_vm_name, NULL);
	if (n < 0)
		return file_failed("vms", -errno, "list", why);
	for (int i = 0; i < n; i++) {
		if (!err)
			err = read_vm(keep, vms, names[i]->d_name, why);
		free(names[i]);
	}
	free(names);
	/* VMs that were removed do not come back with their parents. */
	if (!err) {
		err = file_sync_dir(vms);
		if (err)
			file_failed("vms", err, "sync", why);
	}
	return err;
}
