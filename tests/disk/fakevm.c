/* SPDX-License-Identifier: Apache-2.0 */
/* See fakevm.h. All verbs run on its thread, one after the other, files too. */
#include "fakevm.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control.h"
#include "draft.h"
#include "util.h"
#include "writer.h"

static json_t *id_json(const struct object_id *id)
{
	char text[ID_TEXT];

	if (object_id_is_zero(id))
		return json_null();
	object_id_text(text, id);
	return json_string(text);
}

/* What is to go wrong with this verb. */
static enum fake_trouble trouble(struct fakevm *v, const char *verb)
{
	return v->at && !strcmp(v->at, verb) ? v->trouble : FAKE_WELL;
}

static json_t *plan(struct fakevm *v, json_t *args)
{
	return json_pack("{s:[i], s:s, s:o, s:o, s:{s:i, s:i}, s:i, s:o}", "v",
			 1, "state", "idle", "parent", id_json(&v->parent),
			 "memory_parent", id_json(&v->memory_parent), "ram",
			 "bytes", FAKE_PAGES * 4096, "changed_pages",
			 FAKE_PAGES, "state_bytes", 100, "disks",
			 disk_set_plan(v->s.set));
}

/* ---- begin ---- */

/* False: the taker is gone. */
static bool take_files(struct fakevm *v, json_t *args)
{
	unsigned n = (unsigned)json_integer_value(json_object_get(args, "fds"));
	const char *mode = json_string_value(json_object_get(args, "mode"));
	const char *uid = json_string_value(json_object_get(
	    json_array_get(json_object_get(args, "disks"), 0), "next_uid"));
	unsigned skip = strcmp(mode, "disks") ? 2 : 0;
	int fds[32], conn;

	cr_assert_leq(n, ARRAY_SIZE(fds));
	conn = control_ask_fds(v->request, n);
	if (conn < 0 || fd_receive(conn, fds, n, &v->s.cancel))
		return false;
	v->memory_too = skip;
	v->layer_rw = skip ? fds[0] : -1;
	v->layer_ro = skip ? fds[1] : -1;
	cr_assert_eq(disk_set_prepare(v->s.set, fds + skip, n - skip, &uid,
				      &v->s.cancel, &v->s.dir.why),
		     0, "%s", v->s.dir.why.message);
	return true;
}

/* ---- wait ---- */

static void seal_memory(struct fakevm *v, json_t *layers)
{
	struct draft_options o = { .fd = v->layer_rw,
				   .name = "memory",
				   .bytes = FAKE_PAGES * 4096 };
	uint8_t page[4096];
	struct object_id id;
	struct draft *d;

	cr_assert_eq(draft_create(&d, &o, NULL), 0);
	for (unsigned i = 0; i < FAKE_PAGES; i++) {
		memset(page, v->memory[i], sizeof(page));
		cr_assert_eq(draft_put(d, i, page, NULL), 0);
	}
	cr_assert_eq(draft_put_second(d, "the state", 9, NULL), 0);
	cr_assert_eq(draft_seal(d, &id, NULL), 0);
	draft_destroy(d);
	json_array_append_new(layers,
			      json_pack("{s:s, s:s, s:o}", "of", "memory",
					"uid", "", "id", id_json(&id)));
	close(steal_fd(&v->layer_rw));
	close(steal_fd(&v->layer_ro));
}

/* After the taker's first look at it, most likely. */
static void *close_late(void *fd)
{
	const struct timespec moment = { .tv_nsec = 50000000 };

	nanosleep(&moment, NULL);
	close((int)(intptr_t)fd);
	return NULL;
}

static void keep_writable(const struct fakevm *v)
{
	int fd = fcntl(v->layer_rw, F_DUPFD_CLOEXEC, 3);
	pthread_t t;

	cr_assert_eq(pthread_create(&t, NULL, close_late, (void *)(intptr_t)fd),
		     0);
	pthread_detach(t);
}

static void seal(struct fakevm *v)
{
	enum fake_trouble what = trouble(v, "capture-wait");
	json_t *layers = json_array();
	int n;

	disk_set_swap(v->s.set);
	if (what == FAKE_WRITER)
		v->leak = fcntl(v->layer_rw, F_DUPFD_CLOEXEC, 3);
	if (what == FAKE_LATE)
		keep_writable(v);
	if (v->memory_too && what != FAKE_MISSING)
		seal_memory(v, layers);
	n = disk_set_seal(v->s.set, v->s.sealed, &v->s.cancel, &v->s.dir.why);
	cr_assert_geq(n, 0, "%s", v->s.dir.why.message);
	for (int i = 0; i < n; i++) {
		const struct disk_sealed *d = &v->s.sealed[i];

		json_array_append_new(layers, json_pack("{s:s, s:s, s:o}", "of",
							d->disk, "uid", d->uid,
							"id", id_json(&d->id)));
	}
	disk_set_adopt(v->s.set);
	if (what == FAKE_OTHER_ID)
		json_object_set_new(
		    json_array_get(layers, 0), "id",
		    json_string("00112233445566778899aabbccddeeff"
				"00112233445566778899aabbccddeeff"));
	v->result = json_pack("{s:s, s:o, s:i, s:{s:i}}", "state", "sealed",
			      "layers", layers, "pause_ns", 1234, "counts",
			      "copied_pages", FAKE_PAGES);
}

static json_t *wait_sealed(struct fakevm *v, json_t *args)
{
	if (trouble(v, "capture-wait") == FAKE_LONG)
		return json_pack("{s:s, s:i, s:i}", "state", "copying",
				 "copied_pages", 1, "todo_pages", 2);
	if (!v->result)
		seal(v);
	return json_incref(v->result);
}

/* ---- end ---- */

static json_t *give_up(struct fakevm *v, json_t *args)
{
	disk_set_abandon(v->s.set);
	json_decref(v->result);
	v->result = NULL;
	cleanup_close(&v->layer_rw);
	cleanup_close(&v->layer_ro);
	v->layer_rw = v->layer_ro = -1;
	v->aborted++;
	v->open = false;
	return json_object();
}

static json_t *commit(struct fakevm *v, json_t *args)
{
	cr_assert(object_id_parse(
	    &v->parent, json_string_value(json_object_get(args, "manifest"))));
	if (v->memory_too)
		v->memory_parent = v->parent;
	disk_set_commit(v->s.set);
	json_decref(v->result);
	v->result = NULL;
	v->committed++;
	v->open = false;
	v->ended = json_is_true(json_object_get(args, "end"));
	return json_object();
}

/* The taker's end is an abort. */
static void taker_ended(void *ctx)
{
	struct fakevm *v = ctx;

	if (v->open)
		json_decref(give_up(v, NULL));
}

static json_t *begin(struct fakevm *v, json_t *args)
{
	if (!take_files(v, args))
		return NULL;
	v->begun++;
	v->open = true;
	if (control_client_of(v->request))
		control_watch(control_client_of(v->request), taker_ended, v);
	return json_pack("{s:s}", "state", "preparing");
}

/* ---- what is to go wrong ---- */

static const struct {
	const char *verb;
	json_t *(*run)(struct fakevm *v, json_t *args);
} verbs[] = {
	{ "capture-plan", plan },	 { "capture-begin", begin },
	{ "capture-wait", wait_sealed }, { "capture-abort", give_up },
	{ "capture-commit", commit },
};

static int obey(struct fakevm *v, unsigned verb, struct control_request *r,
		json_t *args, struct fail *why)
{
	enum fake_trouble what = trouble(v, verbs[verb].verb);
	json_t *answer;

	if (what == FAKE_REFUSE)
		return fail_set(why, EXIT_NO_SPACE, -ENOSPC, "fake", NULL,
				"no space, says the VM");
	v->request = r;
	if (what == FAKE_DIE) {
		loop_quit(&v->s.rig.loop);
		return 0;
	}
	v->request = r;
	answer = verbs[verb].run(v, args);
	if (answer)
		control_reply(r, answer);
	else
		control_refuse(r, &(struct fail){ .code = EXIT_FAILED });
	v->request = NULL;
	if (what == FAKE_DIE_AFTER || v->ended)
		loop_quit(&v->s.rig.loop);
	return 0;
}

#define OP(n)                                                                  \
	static int op_##n(void *ctx, struct control_request *r, json_t *args,  \
			  struct fail *why)                                    \
	{                                                                      \
		return obey(ctx, n, r, args, why);                             \
	}
OP(0)
OP(1)
OP(2)
OP(3)
OP(4)

static const struct control_op ops[] = {
	{ .verb = "capture-plan", .later = op_0 },
	{ .verb = "capture-begin", .later = op_1 },
	{ .verb = "capture-wait", .later = op_2 },
	{ .verb = "capture-abort", .later = op_3 },
	{ .verb = "capture-commit", .later = op_4 },
};

/* ---- its life ---- */

static void *serve(void *ctx)
{
	struct fakevm *v = ctx;

	cr_assert_eq(loop_run(&v->s.rig.loop), 0);
	control_destroy(v->control);
	/* One that nobody has answered. */
	if (v->request)
		control_reply(v->request, NULL);
	v->request = NULL;
	return NULL;
}

void fakevm_init(struct fakevm *v, unsigned disks)
{
	_cleanup_close_ int vms = -1;

	memset(v, 0, sizeof(*v));
	v->layer_rw = v->layer_ro = v->leak = -1;
	signal(SIGPIPE, SIG_IGN); /* as control.h wants it */
	cr_assert_eq(hash_init(), 0);
	dirtest_init(&v->s.dir, disks);
	vms = home_open(false, NULL);
	cr_assert_eq(home_find(vms, "vm", &v->dir, NULL), 0);
}

void fakevm_open(struct fakevm *v)
{
	if (v->s.dir.config.ndisks)
		swaptest_open(&v->s, DISK_IO_NO_RING);
	else
		cr_assert_eq(loop_init(&v->s.rig.loop), 0);
}

void fakevm_serve(struct fakevm *v)
{
	int dir = v->s.dir.vm.fd, listen;

	unlinkat(dir, "control.sock", 0);
	listen = home_listen_at(dir, "control.sock");
	cr_assert_geq(listen, 0);
	cr_assert_eq(control_create(&v->control, &v->s.rig.loop, listen, ops,
				    ARRAY_SIZE(ops), v),
		     0);
	cr_assert_eq(pthread_create(&v->thread, NULL, serve, v), 0);
}

void fakevm_stop(struct fakevm *v)
{
	loop_quit(&v->s.rig.loop);
	pthread_join(v->thread, NULL);
	json_decref(v->result);
	v->result = NULL;
	if (v->s.set)
		swaptest_close(&v->s);
	else
		loop_fini(&v->s.rig.loop);
	v->s.set = NULL;
	cleanup_close(&v->layer_rw);
	cleanup_close(&v->layer_ro);
	cleanup_close(&v->leak);
	v->layer_rw = v->layer_ro = v->leak = -1;
	v->ended = v->open = false;
}

void fakevm_fini(struct fakevm *v)
{
	vm_dir_close(&v->dir);
	dirtest_fini(&v->s.dir);
}
