/* SPDX-License-Identifier: Apache-2.0 */
/* PATH[,id=ID][,ro]...: one disk's line, read and printed. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "util.h"

static int bad(struct fail *why, const char *hint, const char *message)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, "", hint, "%s", message);
}

static int set_path(struct disk_config *d, const char *path, struct fail *why)
{
	json_t *probe = json_string(path); /* JSON holds UTF-8 only */

	json_decref(probe);
	if (!*path)
		return bad(why, "give a file or block device first: PATH[,...]",
			   "no path");
	if (!probe)
		return bad(why, "use a path in UTF-8", "not UTF-8");
	if (strlen(path) >= PATH_MAX)
		return bad(why, "use at most 4095 bytes", "path too long");
	d->path = strdup(path);
	return d->path ? 0
		       : fail_set(why, EXIT_FAILED, -ENOMEM, "", NULL,
				  "out of memory");
}

/* ---- one setting each; `value` NULL: a flag ---- */

static int set_id(struct disk_config *d, const char *value, struct fail *why)
{
	if (!config_name_valid(value) || strlen(value) > CONFIG_DISK_ID_MAX)
		return bad(why,
			   "use 1 to 20 letters, digits, '_', '.' or '-', the "
			   "first a letter or digit",
			   "id= is no name");
	memcpy(d->id, value, strlen(value) + 1);
	return 0;
}

static int set_ro(struct disk_config *d, const char *value, struct fail *why)
{
	d->read_only = true;
	return 0;
}

static int set_direct(struct disk_config *d, const char *value,
		      struct fail *why)
{
	d->direct = true;
	return 0;
}

static int set_format(struct disk_config *d, const char *value,
		      struct fail *why)
{
	if (strcmp(value, "raw") && strcmp(value, "qcow2"))
		return bad(why,
			   "use format=raw (the default) or format=qcow2, or "
			   "convert the file by qemu-img",
			   "not a format that is known");
	d->qcow2 = value[0] == 'q';
	return 0;
}

static int set_serial(struct disk_config *d, const char *value,
		      struct fail *why)
{
	size_t n = strlen(value);

	for (size_t i = 0; i < n; i++)
		if (value[i] <= ' ' || value[i] > '~')
			n = 0;
	if (!n || n > CONFIG_SERIAL_MAX)
		return bad(why, "use 1 to 20 letters, digits and signs",
			   "serial= cannot be shown to the guest");
	memcpy(d->serial, value, n + 1);
	return 0;
}

static int set_bps(struct disk_config *d, const char *value, struct fail *why)
{
	if (config_parse_size(value, &d->bps) || !d->bps || d->bps > INT64_MAX)
		return bad(why, "use bytes a second, e.g. bps=100M",
			   "bps= is no size");
	return 0;
}

static int set_iops(struct disk_config *d, const char *value, struct fail *why)
{
	if (config_parse_count(value, &d->iops) || !d->iops ||
	    d->iops > INT64_MAX)
		return bad(why, "use requests a second, e.g. iops=1000",
			   "iops= is no number");
	return 0;
}

static const struct {
	const char *name;
	bool flag;
	int (*set)(struct disk_config *d, const char *value, struct fail *why);
} settings[] = {
	{ "id", false, set_id },	 { "ro", true, set_ro },
	{ "direct", true, set_direct },	 { "format", false, set_format },
	{ "serial", false, set_serial }, { "bps", false, set_bps },
	{ "iops", false, set_iops },
};

static int set_part(struct disk_config *d, const char *part, struct fail *why)
{
	const char *equals = strchr(part, '=');
	size_t len = equals ? (size_t)(equals - part) : strlen(part);

	for (unsigned i = 0; i < ARRAY_SIZE(settings); i++)
		if (strlen(settings[i].name) == len &&
		    !memcmp(settings[i].name, part, len) &&
		    settings[i].flag == !equals)
			return settings[i].set(d, equals ? equals + 1 : NULL,
					       why);
	return bad(why,
		   "use id=, ro, direct, format=, serial=, bps= or iops=; a "
		   "comma in a path is written twice",
		   "a setting that no disk has");
}

static int check_together(struct vm_config *c, struct disk_config *d,
			  struct fail *why)
{
	if (!d->id[0])
		snprintf(d->id, sizeof(d->id), "disk%u", c->ndisks);
	if (d->direct && d->read_only)
		return bad(why, "give one of the two",
			   "ro and direct contradict each other");
	if (d->direct && d->qcow2)
		return bad(why, "leave out direct, or convert the file first",
			   "a qcow2 file is imported, never written");
	for (unsigned i = 0; i < c->ndisks; i++) {
		const struct disk_config *other = &c->disk[i];

		if (!strcmp(other->id, d->id))
			return bad(why, "give each disk an id= of its own",
				   "another disk has that id");
		if ((other->direct || d->direct) &&
		    !strcmp(other->path, d->path))
			return bad(why, "leave out 'direct', or one of the two",
				   "the file is given twice, and written to");
	}
	return 0;
}

static int read_line(struct disk_config *d, char *line, struct fail *why)
{
	char *rest = line, *part = config_next_part(&rest);
	int err = set_path(d, part, why);

	while (!err && (part = config_next_part(&rest)))
		err = set_part(d, part, why);
	return err;
}

int config_add_disk(struct vm_config *c, const char *value, struct fail *why)
{
	_cleanup_free_ char *line = NULL;
	struct disk_config *d;
	int err;

	if (c->ndisks == CONFIG_MAX_DISKS)
		return bad(why, "use at most 8", "too many disks");
	line = strdup(value);
	if (!line)
		return fail_set(why, EXIT_FAILED, -ENOMEM, "", NULL,
				"out of memory");
	d = &c->disk[c->ndisks];
	err = read_line(d, line, why);
	if (!err)
		err = check_together(c, d, why);
	if (err) {
		free(d->path);
		*d = (struct disk_config){ 0 };
		return err;
	}
	c->ndisks++;
	return 0;
}

/* ---- printing ---- */

/* A text with each comma twice; at most twice as long. */
static void escape(char *to, const char *text)
{
	for (; *text; text++) {
		*to++ = *text;
		if (*text == ',')
			*to++ = ',';
	}
	*to = '\0';
}

static json_t *print_disk(const struct disk_config *d)
{
	char path[2 * PATH_MAX], serial[2 * CONFIG_SERIAL_MAX + 1];
	char bps[32] = "", iops[32] = "";

	escape(path, d->path);
	escape(serial, d->serial);
	if (d->bps)
		snprintf(bps, sizeof(bps), ",bps=%llu",
			 (unsigned long long)d->bps);
	if (d->iops)
		snprintf(iops, sizeof(iops), ",iops=%llu",
			 (unsigned long long)d->iops);
	return json_sprintf(
	    "%s,id=%s%s%s%s%s%s%s%s", path, d->id, d->read_only ? ",ro" : "",
	    d->direct ? ",direct" : "", d->qcow2 ? ",format=qcow2" : "",
	    *serial ? ",serial=" : "", serial, bps, iops);
}

json_t *config_print_disks(const struct vm_config *c, bool *none)
{
	json_t *array;

	*none = c->ndisks == 0;
	if (*none)
		return NULL;
	array = json_array();
	for (unsigned i = 0; array && i < c->ndisks; i++)
		json_array_append_new(array, print_disk(&c->disk[i]));
	return array;
}
