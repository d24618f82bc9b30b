/* SPDX-License-Identifier: Apache-2.0 */
/* Between JSON and the machine's balloon. */
#include "balloon_op.h"

#include <errno.h>

#include "config.h"
#include "util.h"

static int bad_target(const char *name, const char *reason, struct fail *why)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, name,
			"give what the guest shall keep, from 2M up to its "
			"--memory",
			"target: %s", reason);
}

/* 0 and *target, which stays as it is when none was given. */
static int read_target(const json_t *args, const char *name, uint64_t memory,
		       uint64_t *target, struct fail *why)
{
	const json_t *v = json_object_get(args, "target");
	json_int_t n = json_integer_value(v);

	if (!v)
		return 0;
	if (!json_is_integer(v) || n <= 0)
		return bad_target(name, "not a size", why);
	if ((uint64_t)n < CONFIG_MIN_MEMORY)
		return bad_target(name, "too small", why);
	if ((uint64_t)n > memory)
		return bad_target(name, "more than the VM has", why);
	*target = (uint64_t)n;
	return 0;
}

static json_t *stats_json(const struct machine_balloon *b)
{
	json_t *stats = json_object();

	for (unsigned i = 0; i < b->nstats; i++)
		json_object_set_new(stats, b->stat[i].name,
				    json_integer((json_int_t)b->stat[i].value));
	return stats;
}

int balloon_op(struct machine *m, const char *name, uint64_t memory_bytes,
	       const json_t *args, json_t **result, struct fail *why)
{
	struct machine_balloon b;
	uint64_t target = 0;
	int err = read_target(args, name, memory_bytes, &target, why);

	if (err)
		return err;
	err = machine_balloon(m, target,
			      json_is_true(json_object_get(args, "ask")), &b);
	if (err)
		return fail_set(why, EXIT_WRONG_STATE, err, name,
				"start it by 'tintype run --balloon'",
				"has no balloon");
	*result = json_pack(
	    "{s:I, s:I, s:I, s:b, s:I, s:o}", "memory",
	    (json_int_t)memory_bytes, "target", (json_int_t)b.target_bytes,
	    "actual", (json_int_t)b.actual_bytes, "asked", (int)b.asked,
	    "updates", (json_int_t)b.updates, "statistics", stats_json(&b));
	return *result ? 0 : -ENOMEM;
}
