/* SPDX-License-Identifier: Apache-2.0 */
/* `snapshot create`. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli_progress.h"
#include "cli_snapshot.h"
#include "taker.h"
#include "util.h"

struct creating {
	struct snapshot_name name;
	struct ref_label label[REF_MAX_LABELS];
	char user[32];
	struct taker_request r;
};

static int bad_option(const char *option, const char *value, const char *hint,
		      const char *message, struct fail *why)
{
	char object[sizeof(why->object)];

	snprintf(object, sizeof(object), "snapshot create: --%s %s", option,
		 value);
	return fail_set(why, EXIT_USAGE, -EINVAL, object, hint, "%s", message);
}

/* ---- options ---- */

static const char *value_of(const struct options *o, const char *name)
{
	const struct option_use *use = options_find(o, name);

	return use ? use->value : NULL;
}

/* "30m", "12h", "3d", "2w" from now on. */
static int parse_expiry(uint64_t *ns, const char *text)
{
	static const struct {
		char unit;
		uint64_t s;
	} units[] = { { 's', 1 },
		      { 'm', 60 },
		      { 'h', 3600 },
		      { 'd', 86400 },
		      { 'w', UINT64_C(7) * 86400 } };
	size_t len = strlen(text);
	char digits[16];
	uint64_t n;

	if (len < 2 || len >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, text, len - 1);
	digits[len - 1] = '\0';
	if (config_parse_count(digits, &n) || !n || n > 1000000)
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(units); i++)
		if (units[i].unit == text[len - 1]) {
			*ns = ((uint64_t)time(NULL) + n * units[i].s) *
			      1000000000;
			return 0;
		}
	return -EINVAL;
}

static int read_expiry(struct creating *c, const char *text, struct fail *why)
{
	if (!text || !parse_expiry(&c->r.expiry_ns, text))
		return 0;
	return bad_option("expiry", text, "use for instance 12h, 3d or 2w",
			  "not a time", why);
}

static int read_description(struct creating *c, const char *text,
			    struct fail *why)
{
	const char *bad = text && *text ? record_text_check(text, true) : NULL;

	if (text && strlen(text) >= sizeof(((struct ref *)NULL)->description))
		bad = "is longer than 4095 bytes";
	c->r.description = text && *text ? text : NULL;
	return bad ? fail_set(why, EXIT_USAGE, -EINVAL,
			      "snapshot create: --description", NULL, "%s", bad)
		   : 0;
}

/* KEY=VALUE; the last one of a key counts. */
static int add_label(struct creating *c, const char *text, struct fail *why)
{
	const char *equals = strchrnul(text, '=');
	size_t key = (size_t)(equals - text);
	struct ref_label l = { .key = "" }, *to = c->label;

	if (!*equals || key > RECORD_NAME_MAX ||
	    strlen(equals + 1) >= sizeof(l.value))
		return bad_option("label", text,
				  "use KEY=VALUE, of at most 63 and 127 bytes",
				  "not a label", why);
	memcpy(l.key, text, key);
	strcpy(l.value, equals + 1);
	if (record_name_check(l.key) ||
	    (*l.value && record_text_check(l.value, false)))
		return bad_option("label", text,
				  "use letters, digits, '_', '.' or '-' in the "
				  "key, and printable text as the value",
				  "not a label", why);
	while (to < c->label + c->r.nlabels && strcmp(to->key, l.key))
		to++;
	if (to == c->label + REF_MAX_LABELS)
		return bad_option("label", text, "use at most 64", "too many",
				  why);
	c->r.nlabels += to == c->label + c->r.nlabels;
	*to = l;
	return 0;
}

static int read_options(struct creating *c, const struct options *o,
			struct fail *why)
{
	int err = snapshot_name_parse(&c->name, o->operand[0], why);

	for (unsigned i = 0; i < o->nuses && !err; i++)
		if (!strcmp(o->use[i].row->name, "label"))
			err = add_label(c, o->use[i].value, why);
	if (!err)
		err = read_description(c, value_of(o, "description"), why);
	if (!err)
		err = read_expiry(c, value_of(o, "expiry"), why);
	c->r.name = *c->name.name ? c->name.name : NULL;
	c->r.label = c->label;
	c->r.disks_only = options_has(o, "disk-only");
	c->r.end = options_has(o, "stop");
	/* The name would want a library that is not linked statically. */
	snprintf(c->user, sizeof(c->user), "uid %u", geteuid());
	c->r.created_by = c->user;
	if (!err && c->r.end && c->r.disks_only)
		err = fail_set(why, EXIT_USAGE, -EINVAL,
			       "snapshot create: --stop",
			       "leave out one of the two",
			       "--disk-only would lose the memory");
	return err;
}

/* ---- */

static int print_taken(const struct options *o, const struct snapshot_name *n,
		       const struct taken *t, struct fail *why)
{
	if (!options_has(o, "json")) {
		if (!options_has(o, "quiet"))
			printf("%s@%s\n", n->vm, t->name);
		return cli_flush(EXIT_OK, why);
	}
	return cli_print_json(json_pack("{s:o, s:s, s:s, s:o, s:o}", "name",
					json_sprintf("%s@%s", n->vm, t->name),
					"vm", n->vm, "snapshot", t->name, "id",
					cli_id_json(&t->manifest), "pause_ns",
					cli_number_json(t->pause_ns)),
			      why);
}

int cli_snapshot_take(struct store **s, const struct vm_dir *d,
		      const struct taker_request *r, struct taken *t,
		      struct fail *why)
{
	_cleanup_close_ int home = -1;

	if (hash_init())
		return fail_set(why, EXIT_FAILED, -EIO, "hash", NULL,
				"cannot be initialised");
	cli_raise_file_limit();
	if (!*s) {
		int err;

		home = home_open_top(true, why);
		err = home < 0 ? home : store_open(s, home, true, why);
		if (err)
			return err;
	}
	return taker_take(*s, d, r, t, why);
}

int cli_snapshot_create(const struct options *o, struct fail *why)
{
	struct vm_dir d = VM_DIR_NONE;
	struct store *s = NULL;
	struct creating c = { .user = "" };
	struct cli_progress p;
	struct taken t;
	int err = read_options(&c, o, why);

	if (!err)
		err = cli_progress_begin(&p, o, o->operand[0], why);
	if (!err)
		err = cli_find_vm(c.name.vm, &d, why);
	if (!err) {
		c.r.progress = cli_progress_tell;
		c.r.ctx = &p;
		err = cli_snapshot_take(&s, &d, &c.r, &t, why);
		cli_progress_end(&p);
	}
	store_close(s);
	vm_dir_close(&d);
	return err ? (int)why->code : print_taken(o, &c.name, &t, why);
}
