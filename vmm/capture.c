/* SPDX-License-Identifier: Apache-2.0 */
/* The edges of a capture: see capture.h for the states. */
#include "capture_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmem.h"
#include "log.h"
#include "loop.h"

/* ---- the machine ---- */

static void stop_machine(struct capture *c)
{
	c->run_after = machine_state(c->cfg.machine) == MACHINE_RUNNING;
	c->stopped_ns = now_ns();
	c->stopped = true;
	if (c->run_after)
		machine_pause(c->cfg.machine);
}

static void let_machine_run(struct capture *c)
{
	if (!c->stopped)
		return;
	c->stopped = false;
	if (c->run_after)
		machine_run(c->cfg.machine);
}

bool capture_holds(const struct capture *c)
{
	return c->stopped;
}

void capture_run_after(struct capture *c, bool run)
{
	assert(c->stopped);
	c->run_after = run;
}

/* ---- answers ---- */

static const char *const state_names[] = {
	[CAPTURE_IDLE] = "idle",	 [CAPTURE_PREPARING] = "preparing",
	[CAPTURE_SEALING] = "sealing",	 [CAPTURE_SEALED] = "sealed",
	[CAPTURE_ABORTING] = "aborting",
};
static_assert(ARRAY_SIZE(state_names) == CAPTURE_STATES, "a name a state");

static json_t *id_json(const struct object_id *id)
{
	char text[ID_TEXT];

	if (object_id_is_zero(id))
		return json_null();
	object_id_text(text, id);
	return json_string(text);
}

static json_t *layer_json(const char *of, const char *uid,
			  const struct object_id *id, unsigned roots)
{
	return json_pack("{s:s, s:s, s:o, s:i}", "of", of, "uid", uid, "id",
			 id_json(id), "roots", (int)roots);
}

static void add_sealed(const struct capture *c, json_t *answer)
{
	json_t *layers = json_array();

	if (c->memory_too)
		json_array_append_new(layers,
				      layer_json("memory", "", &c->layer, 2));
	for (int i = 0; i < c->nsealed; i++)
		json_array_append_new(layers, layer_json(c->sealed[i].disk,
							 c->sealed[i].uid,
							 &c->sealed[i].id, 1));
	json_object_set_new(answer, "layers", layers);
	json_object_set_new(answer, "pause_ns",
			    json_integer((json_int_t)c->pause_ns));
	json_object_set_new(answer, "held_ns",
			    json_integer((json_int_t)c->held_ns));
	if (c->memory_too)
		json_object_set_new(
		    answer, "counts",
		    json_pack("{s:I, s:I, s:I, s:I}", "copied_pages",
			      (json_int_t)c->copied_pages, "full_pages",
			      (json_int_t)c->counts.full, "zero_pages",
			      (json_int_t)c->counts.zero, "diff_pages",
			      (json_int_t)c->counts.diffs));
}

static json_t *progress_json(const struct capture *c)
{
	uint64_t copied = atomic_load(&c->copied_pages);
	uint64_t todo = c->todo_pages - MIN(copied, c->todo_pages);
	json_t *answer =
	    json_pack("{s:s, s:i, s:I, s:I, s:b, s:I}", "state",
		      state_names[c->state], "round", 1, "copied_pages",
		      (json_int_t)copied, "todo_pages", (json_int_t)todo,
		      "enough", 1, "bytes", (json_int_t)(copied << PAGE_SHIFT));

	if (answer && c->state == CAPTURE_SEALED)
		add_sealed(c, answer);
	return answer;
}

static struct control_request *take_request(struct capture *c)
{
	struct control_request *r = c->request;

	c->request = NULL;
	c->aborts = false;
	loop_timer_set(&c->timer, 0);
	return r;
}

/* Tells who waits how it is: an end of a capture by its reason, once. */
static void answer_waiting(struct capture *c)
{
	struct control_request *r;

	if (!c->request)
		return;
	if (c->aborts) {
		if (c->state == CAPTURE_IDLE)
			control_reply(take_request(c), NULL);
		return;
	}
	r = take_request(c);
	if (c->state == CAPTURE_IDLE || c->state == CAPTURE_ABORTING)
		control_refuse(r, &c->fail);
	else
		control_reply(r, progress_json(c));
}

/* ---- edges ---- */

/* As the arrows in capture.h. */
static const uint8_t edges[CAPTURE_STATES] = {
	[CAPTURE_IDLE] = 1 << CAPTURE_PREPARING,
	[CAPTURE_PREPARING] =
	    1 << CAPTURE_SEALING | 1 << CAPTURE_ABORTING | 1 << CAPTURE_IDLE,
	[CAPTURE_SEALING] =
	    1 << CAPTURE_SEALED | 1 << CAPTURE_ABORTING | 1 << CAPTURE_IDLE,
	[CAPTURE_SEALED] = 1 << CAPTURE_IDLE,
	[CAPTURE_ABORTING] = 1 << CAPTURE_IDLE,
};

static void go(struct capture *c, enum capture_state to)
{
	assert(edges[c->state] & 1 << to);
	c->state = to;
}

static void close_files(struct capture *c)
{
	cleanup_close(&c->layer_rw);
	cleanup_close(&c->layer_ro);
	c->layer_rw = c->layer_ro = -1;
}

/* Whatever became of it: nothing of it is left, and the guest runs. */
static void be_idle(struct capture *c)
{
	close_files(c);
	machine_saved_destroy(c->saved);
	c->saved = NULL;
	if (c->owner)
		control_watch(c->owner, NULL, NULL);
	c->owner = NULL;
	let_machine_run(c);
	go(c, CAPTURE_IDLE);
	answer_waiting(c);
}

/* The writer has ended, or never began. c->fail says why. */
static void give_up(struct capture *c)
{
	disk_set_abandon(c->cfg.disks);
	if (c->fail.code != EXIT_CANCELLED && c->fail.code != EXIT_OK)
		log_warn(c->cfg.name, "capture: %s", c->fail.message);
	be_idle(c);
}

/* Of one that was given up meanwhile, why is known. */
static void job_failed(struct capture *c)
{
	if (c->state != CAPTURE_ABORTING)
		c->fail = c->job_fail;
	give_up(c);
}

/* Somebody wants no more of it. */
static void abort_capture(struct capture *c)
{
	fail_set(&c->fail, EXIT_CANCELLED, -ECANCELED, c->cfg.name, NULL,
		 "the capture was given up");
	if (!writer_is_busy(c->cfg.writer)) {
		give_up(c);
		return;
	}
	atomic_store(&c->job.cancel, true);
	if (c->state != CAPTURE_ABORTING)
		go(c, CAPTURE_ABORTING);
	/* Only who asked for the abort waits until it is over. */
	if (!c->aborts)
		answer_waiting(c);
}

static void owner_ended(void *ctx)
{
	struct capture *c = ctx;

	c->owner = NULL;
	abort_capture(c);
}

static void sealed(struct writer_job *j)
{
	struct capture *c = container_of(j, struct capture, job);

	disk_set_adopt(c->cfg.disks);
	if (c->err || c->state == CAPTURE_ABORTING) {
		job_failed(c);
		return;
	}
	if (c->stopped)
		c->held_ns = now_ns() - c->stopped_ns;
	go(c, CAPTURE_SEALED);
	answer_waiting(c);
}

/* The guest stands still: all that will be in the snapshot is fixed here.
 * Heads last: what can fail comes before. */
static int harvest(struct capture *c)
{
	int r = 0;

	if (c->memory_too) {
		r = machine_save(c->cfg.machine, c->saved, &c->fail);
		if (r < 0)
			return r;
		r = dirty_take(&c->dirty);
	}
	if (r < 0)
		return fail_set(&c->fail, EXIT_OWN_FAILURE, r, c->cfg.name,
				NULL, "read the dirty log: %s", strerror(-r));
	disk_set_swap(c->cfg.disks);
	return 0;
}

static void prepared(struct writer_job *j)
{
	struct capture *c = container_of(j, struct capture, job);

	if (c->err || c->state == CAPTURE_ABORTING) {
		job_failed(c);
		return;
	}
	stop_machine(c);
	c->err = harvest(c);
	c->pause_ns = now_ns() - c->stopped_ns;
	if (c->err) {
		give_up(c);
		return;
	}
	if (c->memory_too)
		c->todo_pages = dirty_count(&c->dirty);
	else
		let_machine_run(c);
	go(c, CAPTURE_SEALING);
	c->job.run = capture_job_seal;
	c->job.done = sealed;
	writer_start(c->cfg.writer, &c->job);
	answer_waiting(c);
}

/* ---- verbs ---- */

static int busy(const struct capture *c, struct fail *why)
{
	return fail_set(why, EXIT_CONFLICT, -EBUSY, c->cfg.name,
			"try again when it is done",
			"a capture of it is being made");
}

static int misused(struct fail *why, const char *what)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, "capture", NULL, "%s", what);
}

static int ours(const struct capture *c, struct control_request *r,
		struct fail *why)
{
	if (c->state == CAPTURE_IDLE)
		return fail_set(why, EXIT_WRONG_STATE, -ESRCH, c->cfg.name,
				NULL, "no capture is being made");
	if (control_client_of(r) != c->owner || c->request)
		return busy(c, why);
	return 0;
}

int capture_op_plan(void *ctx, struct control_request *r, json_t *args,
		    struct fail *why)
{
	struct capture *c = ctx;
	bool idle = c->state == CAPTURE_IDLE;
	uint64_t state = 16384 + 65536 * (uint64_t)c->cfg.cpus;
	json_t *disks = disk_set_plan(c->cfg.disks);

	control_reply(
	    r,
	    json_pack(
		"{s:[i], s:s, s:o, s:o, s:{s:I, s:o}, s:I, s:o}", "v", 1,
		"state", state_names[c->state], "parent", id_json(&c->parent),
		"memory_parent", id_json(&c->memory_parent), "ram", "bytes",
		(json_int_t)(c->dirty.pages << PAGE_SHIFT), "changed_pages",
		idle ? json_integer((json_int_t)capture_changed_most(c))
		     : json_null(),
		"state_bytes", (json_int_t)state, "disks", disks));
	return 0;
}

static int begin_mode(struct capture *c, const json_t *args, struct fail *why)
{
	const char *mode = json_string_value(json_object_get(args, "mode"));

	if (mode && !strcmp(mode, "stop"))
		c->memory_too = true;
	else if (mode && !strcmp(mode, "disks"))
		c->memory_too = false;
	else
		return misused(why, "mode is \"stop\" or \"disks\"");
	return 0;
}

/* The next heads' uids, in the order of the disks that take part. */
static int begin_disks(struct capture *c, const json_t *args, struct fail *why)
{
	const json_t *disks = json_object_get(args, "disks");
	unsigned n = disk_set_heads(c->cfg.disks);

	if (json_array_size(disks) != n)
		return misused(why, "disks do not match the VM's");
	for (unsigned i = 0; i < n; i++) {
		const char *uid = json_string_value(
		    json_object_get(json_array_get(disks, i), "next_uid"));

		if (!uid || strlen(uid) + 1 != sizeof(c->uid[i]))
			return misused(why, "next_uid has 32 digits");
		memcpy(c->uid[i], uid, sizeof(c->uid[i]));
		c->uids[i] = c->uid[i];
	}
	return 0;
}

static int begin_fds(struct capture *c, const json_t *args, struct fail *why)
{
	json_int_t n = json_integer_value(json_object_get(args, "fds"));

	if (n < (c->memory_too ? 2 : 1) || n > CAPTURE_MAX_FDS)
		return misused(why, "fds is not what the mode needs");
	c->nfds = (unsigned)n;
	return 0;
}

static int begin_args(struct capture *c, const json_t *args, struct fail *why)
{
	const json_t *flags = json_object_get(args, "flags");
	int r;

	if (json_integer_value(json_object_get(args, "v")) != 1)
		return fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP, "capture",
				NULL, "this VM speaks version 1");
	if (json_integer_value(flags))
		return misused(why, "flags: plain layers only");
	if ((r = begin_mode(c, args, why)) || (r = begin_disks(c, args, why)))
		return r;
	return begin_fds(c, args, why);
}

static void reset_job(struct capture *c)
{
	c->err = 0;
	c->fail = (struct fail){ .code = EXIT_OK };
	c->nsealed = 0;
	c->todo_pages = 0;
	c->pause_ns = c->held_ns = 0;
	atomic_store(&c->copied_pages, 0);
	c->counts = (struct draft_counts){ 0 };
	c->job.run = capture_job_prepare;
	c->job.done = prepared;
}

int capture_op_begin(void *ctx, struct control_request *r, json_t *args,
		     struct fail *why)
{
	struct capture *c = ctx;
	int err;

	if (c->state != CAPTURE_IDLE || writer_is_busy(c->cfg.writer))
		return busy(c, why);
	err = begin_args(c, args, why);
	if (err)
		return err;
	reset_job(c);
	if (c->memory_too) {
		err = machine_saved_create(&c->saved, c->cfg.machine, why);
		if (err)
			return err;
	}
	c->conn = control_ask_fds(r, c->nfds);
	if (c->conn < 0) {
		machine_saved_destroy(c->saved);
		c->saved = NULL;
		return fail_set(why, EXIT_FAILED, c->conn, c->cfg.name, NULL,
				"ask for the capture's files: %s",
				strerror(-c->conn));
	}
	c->request = r;
	c->owner = control_client_of(r);
	control_watch(c->owner, owner_ended, c);
	go(c, CAPTURE_PREPARING);
	writer_start(c->cfg.writer, &c->job);
	return 0;
}

#define WAIT_MAX_MS 1000

static void waited(struct loop_timer *t)
{
	struct capture *c = container_of(t, struct capture, timer);

	answer_waiting(c);
}

int capture_op_wait(void *ctx, struct control_request *r, json_t *args,
		    struct fail *why)
{
	struct capture *c = ctx;
	const char *known = json_string_value(json_object_get(args, "state"));
	json_int_t ms = json_integer_value(json_object_get(args, "ms"));
	int err;

	/* Of one that has failed meanwhile its owner is told once. */
	if (c->state == CAPTURE_IDLE && c->fail.code != EXIT_OK) {
		*why = c->fail;
		c->fail.code = EXIT_OK;
		return -EIO;
	}
	err = ours(c, r, why);
	if (err)
		return err;
	c->request = r;
	if (!known || strcmp(known, state_names[c->state]) || ms <= 0) {
		answer_waiting(c);
		return 0;
	}
	loop_timer_set(&c->timer, (uint64_t)MIN(ms, WAIT_MAX_MS) * 1000000);
	return 0;
}

int capture_op_abort(void *ctx, struct control_request *r, json_t *args,
		     struct fail *why)
{
	struct capture *c = ctx;
	int err = ours(c, r, why);

	if (err)
		return err;
	c->request = r;
	c->aborts = true;
	abort_capture(c);
	c->fail.code = EXIT_OK;
	return 0;
}

int capture_op_commit(void *ctx, struct control_request *r, json_t *args,
		      struct fail *why)
{
	const char *id = json_string_value(json_object_get(args, "manifest"));
	bool end = json_is_true(json_object_get(args, "end"));
	struct capture *c = ctx;
	struct object_id manifest;
	int err = ours(c, r, why);

	if (err)
		return err;
	if (c->state != CAPTURE_SEALED)
		return fail_set(why, EXIT_WRONG_STATE, -EBUSY, c->cfg.name,
				NULL, "the capture is %s",
				state_names[c->state]);
	if (!id || !object_id_parse(&manifest, id))
		return misused(why, "manifest is an id");
	c->parent = manifest;
	if (c->memory_too) {
		c->memory_parent = manifest;
		c->memory = c->next;
		dirty_forget(&c->dirty);
	}
	disk_set_commit(c->cfg.disks);
	if (end)
		c->run_after = false;
	be_idle(c);
	control_reply(r, NULL);
	if (end)
		c->cfg.end(c->cfg.ctx);
	return 0;
}

/* ---- its life ---- */

int capture_begin_from(struct capture *c, const struct object_id *manifest,
		       const struct image *memory)
{
	int r = dirty_start(&c->dirty);

	if (r < 0)
		return r;
	dirty_forget(&c->dirty);
	r = dirty_take(&c->dirty);
	if (r < 0)
		return r;
	c->parent = c->memory_parent = *manifest;
	c->memory = *memory;
	return 0;
}

int capture_create(struct capture **out, const struct capture_config *cfg)
{
	struct capture *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->cfg = *cfg;
	c->layer_rw = c->layer_ro = -1;
	loop_timer_init(cfg->loop, &c->timer, waited);
	r = dirty_init(&c->dirty, machine_ram(cfg->machine),
		       machine_vm_fd(cfg->machine));
	if (r < 0) {
		free(c);
		return r;
	}
	*out = c;
	return 0;
}

void capture_destroy(struct capture *c)
{
	if (!c)
		return;
	if (c->request) {
		fail_set(&c->fail, EXIT_WRONG_STATE, -ESRCH, c->cfg.name, NULL,
			 "ended meanwhile");
		control_refuse(take_request(c), &c->fail);
	}
	loop_timer_fini(c->cfg.loop, &c->timer);
	close_files(c);
	machine_saved_destroy(c->saved);
	dirty_fini(&c->dirty);
	free(c);
}
