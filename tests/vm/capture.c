/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's side of a capture, with a real machine, writer and control socket;
 * the taker is a thread of the test. While a capture is sealed the machine
 * stands still, so that what the new layer has can be compared with RAM itself.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "capture.h"
#include "gmem.h"
#include "home.h"
#include "restore.h"
#include "util.h"
#include "vmtest.h"
#include "writer.h"

#define MEMORY MIB(24)

struct rig {
	struct vmtest vm;
	struct writer *writer;
	struct layer_set *layers;
	struct capture *capture;
	struct control *control;
	char dir[32];
	int conn, type; /* type: a pipe to the guest's console */
	bool saved;	/* the end was asked for */
	struct object_id layer;
	struct fail why;
};

#define OP(name)                                                               \
	static int op_##name(void *ctx, struct control_request *r,             \
			     json_t *args, struct fail *why)                   \
	{                                                                      \
		return capture_op_##name(((struct rig *)ctx)->capture, r,      \
					 args, why);                           \
	}
OP(plan)
OP(begin)
OP(wait)
OP(commit)
OP(abort)

static const struct control_op ops[] = {
	{ .verb = "capture-plan", .later = op_plan },
	{ .verb = "capture-begin", .later = op_begin },
	{ .verb = "capture-wait", .later = op_wait },
	{ .verb = "capture-commit", .later = op_commit },
	{ .verb = "capture-abort", .later = op_abort },
};

static void on_saved(void *ctx)
{
	((struct rig *)ctx)->saved = true;
}

static void rig_connect(struct rig *r)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/control.sock", r->dir);
	r->conn = control_connect(path, &r->why);
	cr_assert_geq(r->conn, 0, "%s", r->why.message);
}

static void rig_start(struct rig *r)
{
	struct capture_config c = {
		.name = "vm",
		.loop = &r->vm.loop,
		.machine = r->vm.machine,
		.pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC),
		.cpus = 1,
		.end = on_saved,
		.ctx = r,
	};
	int dir;

	cr_assert_eq(writer_create(&r->writer, &r->vm.loop, NULL), 0);
	c.writer = r->writer;
	c.layers = r->layers;
	cr_assert_eq(capture_create(&r->capture, &c), 0);
	strcpy(r->dir, "/tmp/capture.XXXXXX");
	cr_assert(mkdtemp(r->dir));
	dir = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(control_create(&r->control, &r->vm.loop,
				    home_listen_at(dir, "control.sock"), ops,
				    ARRAY_SIZE(ops), r),
		     0);
	close(dir);
	rig_connect(r);
}

static void rig_init(struct rig *r, const struct vmtest_config *c)
{
	memset(r, 0, sizeof(*r));
	signal(SIGPIPE, SIG_IGN);
	json_object_seed(1);
	vmtest_init(&r->vm, c);
	r->layers = layer_set_create(NULL, NULL);
	rig_start(r);
}

static void rig_fini(struct rig *r)
{
	char path[64];

	close(r->conn);
	writer_destroy(r->writer);
	capture_destroy(r->capture);
	control_destroy(r->control);
	vmtest_fini(&r->vm);
	layer_set_destroy(r->layers);
	snprintf(path, sizeof(path), "%s/control.sock", r->dir);
	unlink(path);
	rmdir(r->dir);
}

/* ---- the taker ---- */

struct call {
	struct rig *rig;
	const char *verb;
	json_t *args, *result;
	int fds[2];
	unsigned nfds;
	int err;
	struct fail why;
};

static void *call_thread(void *arg)
{
	struct call *c = arg;

	c->err = c->nfds
		     ? control_call_fds(c->rig->conn, c->verb, c->args, c->fds,
					c->nfds, &c->result, -1, &c->why)
		     : control_call(c->rig->conn, c->verb, c->args, &c->result,
				    -1, &c->why);
	loop_quit(&c->rig->vm.loop);
	return NULL;
}

/* The loop runs meanwhile. Takes c->args. */
static int call(struct rig *r, struct call *c)
{
	pthread_t thread;

	c->rig = r;
	cr_assert_eq(pthread_create(&thread, NULL, call_thread, c), 0);
	cr_assert_eq(loop_run(&r->vm.loop), 0);
	pthread_join(thread, NULL);
	json_decref(c->args);
	r->why = c->why;
	return c->err;
}

static int simple(struct rig *r, const char *verb, json_t *args)
{
	struct call c = { .verb = verb, .args = args };
	int err = call(r, &c);

	json_decref(c.result);
	return err;
}

static int new_file(void)
{
	return open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
}

static int begin(struct rig *r)
{
	struct call c = { .verb = "capture-begin", .nfds = 2 };
	char path[64];
	int err;

	c.fds[0] = new_file();
	cr_assert_geq(c.fds[0], 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", c.fds[0]);
	c.fds[1] = open(path, O_RDONLY | O_CLOEXEC);
	c.args = json_pack("{s:i, s:s, s:i, s:[], s:i}", "v", 1, "mode", "stop",
			   "flags", 0, "disks", "fds", 2);
	err = call(r, &c);
	json_decref(c.result);
	close(c.fds[0]);
	close(c.fds[1]);
	return err;
}

/* Until it is sealed. */
static int wait_sealed(struct rig *r)
{
	char state[32] = "";

	for (;;) {
		struct call c = { .verb = "capture-wait" };
		const char *id;
		int err;

		c.args = json_pack("{s:s, s:i}", "state", state, "ms", 1000);
		err = call(r, &c);
		if (err)
			return err;
		snprintf(state, sizeof(state), "%s",
			 json_string_value(json_object_get(c.result, "state")));
		id = json_string_value(json_object_get(
		    json_array_get(json_object_get(c.result, "layers"), 0),
		    "id"));
		if (id)
			cr_assert(object_id_parse(&r->layer, id));
		json_decref(c.result);
		if (id)
			return 0;
	}
}

static json_t *commit_args(bool end)
{
	return json_pack("{s:s, s:b}", "manifest",
			 "00112233445566778899aabbccddeeff"
			 "00112233445566778899aabbccddeeff",
			 "end", end);
}

static void layer_image(struct rig *r, uint32_t root, struct image *img)
{
	struct layer *l = layer_set_find(r->layers, &r->layer);

	cr_assert(l);
	cr_assert_eq(image_open(img, l, root, &r->why), 0);
}

/* Every page, also those that this layer has from its parents. */
static void compare_with_ram(struct rig *r)
{
	struct gmem *ram = machine_ram(r->vm.machine);
	uint8_t page[PAGE_BYTES];
	struct image img;

	layer_image(r, 0, &img);
	cr_assert_eq(img.bytes, ram->bytes);
	for (uint64_t p = 0; p < img.pages; p++) {
		cr_assert_eq(image_read(&img, p, 1, page, &r->why), 0);
		cr_assert_eq(
		    memcmp(page, ram->base + p * PAGE_BYTES, PAGE_BYTES), 0,
		    "page %llu", (unsigned long long)p);
	}
}

static void scribble(struct rig *r, unsigned regions)
{
	struct vmtest_config c = { .guest = "scribble",
				   .memory = MEMORY,
				   .region_max = MEMORY / regions };

	rig_init(r, &c);
	machine_run(r->vm.machine);
	cr_assert(vmtest_wait_output(&r->vm, "words"));
}

/* ---- tests ---- */

/* One of our own, which KVM's log does not see, to a page that the guest leaves
 * alone: one of the last. */
static void write_by_us(struct rig *r, unsigned n)
{
	uint64_t at = MEMORY - (n + 1) * PAGE_BYTES;
	uint64_t value = n + 1;

	cr_assert_eq(gmem_write(machine_ram(r->vm.machine), GPA(at), &value,
				sizeof(value)),
		     0);
}

static void chain(unsigned regions)
{
	struct rig r;

	scribble(&r, regions);
	for (unsigned i = 0; i < 8; i++) {
		write_by_us(&r, i);
		cr_assert_eq(begin(&r), 0, "%s", r.why.message);
		cr_assert_eq(wait_sealed(&r), 0, "%s", r.why.message);
		cr_assert_eq(machine_state(r.vm.machine), MACHINE_QUIESCED);
		compare_with_ram(&r);
		cr_assert_eq(simple(&r, "capture-commit", commit_args(false)),
			     0);
		cr_assert_eq(machine_state(r.vm.machine), MACHINE_RUNNING);
		vmtest_let_run(&r.vm, 5);
	}
	rig_fini(&r);
}

Test(capture, increments_of_a_writing_guest_equal_its_ram_to_depth_8)
{
	chain(1);
}

Test(capture, increments_over_several_memory_slots_equal_ram)
{
	chain(6);
}

Test(capture, given_up_at_each_state_loses_no_page_and_the_guest_runs)
{
	struct rig r;

	scribble(&r, 2);
	for (unsigned i = 0; i < 6; i++) {
		cr_assert_eq(begin(&r), 0);
		if (i & 1)
			cr_assert_eq(wait_sealed(&r), 0);
		if (i & 2) {
			cr_assert_eq(simple(&r, "capture-abort", NULL), 0);
		} else {
			close(r.conn);
			rig_connect(&r);
		}
		while (capture_holds(r.capture) || writer_is_busy(r.writer))
			vmtest_let_run(&r.vm, 1);
		cr_assert_eq(machine_state(r.vm.machine), MACHINE_RUNNING);
		vmtest_let_run(&r.vm, 3);
		/* The next one is whole. */
		cr_assert_eq(begin(&r), 0, "%s", r.why.message);
		cr_assert_eq(wait_sealed(&r), 0, "%s", r.why.message);
		compare_with_ram(&r);
		cr_assert_eq(simple(&r, "capture-commit", commit_args(false)),
			     0);
	}
	rig_fini(&r);
}

Test(capture, without_space_is_given_up_and_the_next_one_is_whole)
{
	const struct rlimit small = { KIB(64), RLIM_INFINITY };
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	struct rig r;
	int err;

	signal(SIGXFSZ, SIG_IGN);
	scribble(&r, 1);
	setrlimit(RLIMIT_FSIZE, &small);
	err = begin(&r);
	if (!err)
		err = wait_sealed(&r);
	setrlimit(RLIMIT_FSIZE, &all);
	cr_assert_eq(err, -EREMOTEIO, "%d", err);
	cr_assert_eq(machine_state(r.vm.machine), MACHINE_RUNNING);
	vmtest_let_run(&r.vm, 3);
	cr_assert_eq(begin(&r), 0, "%s", r.why.message);
	cr_assert_eq(wait_sealed(&r), 0, "%s", r.why.message);
	compare_with_ram(&r);
	rig_fini(&r);
}

Test(capture, of_a_second_taker_is_refused)
{
	struct rig r;
	int first;

	scribble(&r, 1);
	cr_assert_eq(begin(&r), 0);
	first = r.conn;
	rig_connect(&r);
	cr_assert_eq(begin(&r), -EREMOTEIO);
	cr_assert_eq(r.why.code, EXIT_CONFLICT);
	cr_assert_eq(simple(&r, "capture-commit", commit_args(false)),
		     -EREMOTEIO);
	close(r.conn);
	r.conn = first;
	cr_assert_eq(wait_sealed(&r), 0);
	cr_assert_eq(simple(&r, "capture-commit", commit_args(false)), 0);
	rig_fini(&r);
}

Test(capture, that_ends_the_vm_leaves_it_standing_still)
{
	struct rig r;

	scribble(&r, 1);
	cr_assert_eq(begin(&r), 0);
	cr_assert_eq(wait_sealed(&r), 0);
	cr_assert_eq(simple(&r, "capture-commit", commit_args(true)), 0);
	cr_assert(r.saved);
	cr_assert_eq(machine_state(r.vm.machine), MACHINE_QUIESCED);
	rig_fini(&r);
}

Test(capture, paused_by_the_user_stays_paused)
{
	struct rig r;

	scribble(&r, 1);
	machine_pause(r.vm.machine);
	cr_assert_eq(begin(&r), 0);
	cr_assert_eq(wait_sealed(&r), 0);
	cr_assert_eq(simple(&r, "capture-commit", commit_args(false)), 0);
	cr_assert_eq(machine_state(r.vm.machine), MACHINE_QUIESCED);
	rig_fini(&r);
}

/* A machine that has not begun goes on from the layer, and to its end. */
Test(capture, restored_in_another_machine_finds_all_it_wrote)
{
	struct vmtest_config c = { .guest = "scribble",
				   .memory = MEMORY,
				   .region_max = MEMORY,
				   .input = "\x03" };
	struct restore from = { .how.clock = CLOCK_CONTINUE };
	struct vmtest b;
	struct rig r;

	scribble(&r, 1);
	for (unsigned i = 0; i < 3; i++) {
		vmtest_let_run(&r.vm, 3);
		cr_assert_eq(begin(&r), 0);
		cr_assert_eq(wait_sealed(&r), 0);
		cr_assert_eq(simple(&r, "capture-commit", commit_args(false)),
			     0);
	}
	layer_image(&r, 0, &from.memory);
	layer_image(&r, 1, &from.state);
	/* It has loaded a guest of its own, of which nothing stays. */
	vmtest_init(&b, &c);
	cr_assert_eq(restore_new(b.machine, &from, &b.why), 0, "%s: %s",
		     b.why.object, b.why.message);
	machine_run(b.machine);
	cr_assert_eq(vmtest_wait(&b), GUEST_EXIT);
	cr_assert_eq(b.value, 0, "%s", vmtest_output(&b));
	cr_assert(strstr(vmtest_output(&b), "0 wrong"));
	vmtest_fini(&b);
	rig_fini(&r);
}
