/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One machine in a process of its own: booted or restored, run from point to
 * point, looked at, saved.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "exact.h"
#include "fake_disk.h"
#include "kvm.h"
#include "loop.h"
#include "machine_impl.h"
#include "mutate.h"
#include "oracle.h"
#include "platform.h"
#include "util.h"

#define VOLATILE_FIRST 0x1e4 /* guest/exact/exact.h */
#define VOLATILE_END   0x1e8
#define STOPPED	       0x1ec

/* Of a stop at any moment. */
#define LEAST_NS 5000
#define MOST_NS	 400000

struct rig {
	const struct exact_job *j;
	struct loop loop;
	struct console *console;
	struct machine *machine;
	struct fake_disk disk;
	struct boot_source src;
	struct loop_task stopped;
	struct loop_timer over;
	bool reached;
	pthread_mutex_t lock; /* guards what vCPUs count */
	uint64_t left;	      /* exits to the next point; 0: it is reached */
	uint64_t exit_hash;
};

unsigned exact_hang_s;

void exact_fail(struct exact_run *run, const char *fmt, ...)
{
	va_list ap;

	if (run->error[0])
		return;
	va_start(ap, fmt);
	vsnprintf(run->error, sizeof(run->error), fmt, ap);
	va_end(ap);
}

static void __attribute__((noreturn))
give_up(struct rig *r, const char *what, const struct fail *why)
{
	exact_fail(r->j->run, "%s: %s: %s", what, why->object, why->message);
	_exit(1);
}

/* ---- what vCPUs tell ---- */

static uint64_t hash_exit(const struct vcpu *v)
{
	const struct kvm_run *k = v->run;
	const uint8_t *io = (const uint8_t *)k + k->io.data_offset;
	uint64_t h = exact_fold(v->id, k->exit_reason);
	uint64_t data = 0;

	if (k->exit_reason == KVM_EXIT_IO) {
		h = exact_fold(h, k->io.direction);
		h = exact_fold(h, k->io.port);
		h = exact_fold(h, k->io.size);
		h = exact_fold(h, k->io.count);
		for (uint32_t i = 0; i < k->io.count * k->io.size; i++)
			h = exact_fold(h, io[i]);
	} else if (k->exit_reason == KVM_EXIT_MMIO) {
		memcpy(&data, k->mmio.data, sizeof(data));
		h = exact_fold(h, k->mmio.phys_addr);
		h = exact_fold(h, k->mmio.len);
		h = exact_fold(h, k->mmio.is_write);
		h = exact_fold(h, data);
	}
	return h;
}

/* Where the guest says what of its RAM depends on time, and other news. */
static void note_news(struct exact_run *run, const struct kvm_run *k)
{
	uint32_t v;

	if (k->exit_reason != KVM_EXIT_IO || k->io.size != 4)
		return;
	memcpy(&v, (const uint8_t *)k + k->io.data_offset, sizeof(v));
	if (k->io.port == VOLATILE_FIRST)
		run->volatile_first = v;
	else if (k->io.port == VOLATILE_END)
		run->volatile_end = v;
	else if (k->io.port == STOPPED)
		run->seen[SEEN_GUEST_STOPPED]++;
}

static void on_exited(void *ctx, struct vcpu *v)
{
	struct rig *r = ctx;
	_locked_(&r->lock);

	r->j->run->exits++;
	note_news(r->j->run, v->run);
	if (r->j->stop != STOP_EXITS)
		return;
	r->exit_hash = exact_fold(r->exit_hash, hash_exit(v));
	if (!r->left) {
		r->j->run->seen[SEEN_SECOND_EXIT]++;
		return;
	}
	if (--r->left)
		return;
	vcpu_request_park(v);
	loop_post(&r->loop, &r->stopped);
}

static void on_stopped(struct loop_task *t)
{
	container_of(t, struct rig, stopped)->reached = true;
}

static void on_over(struct loop_timer *t)
{
	container_of(t, struct rig, over)->reached = true;
}

static void on_event(void *ctx, enum guest_event what, uint32_t value)
{
	struct rig *r = ctx;

	if (what == GUEST_READY)
		return;
	r->j->run->ended = true;
	r->j->run->event = what;
	r->j->run->value = value;
}

/* ---- making it ---- */

static void open_guest(struct rig *r)
{
	static char path[512];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/exact-%s.elf", EXACT_GUEST_DIR,
		 r->j->c->guest);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		exact_fail(r->j->run, "%s: %s", path, strerror(errno));
		_exit(1);
	}
	r->src = (struct boot_source){
		.kernel = { .fd = fd,
			    .bytes = (uint64_t)st.st_size,
			    .name = path },
		.cmdline = r->j->c->cmdline ? r->j->c->cmdline : "",
		.protocol = BOOT_LINUX64,
	};
}

static int pass_on(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void give_devices(struct rig *r, struct machine_config *m,
			 struct machine_disk *disk)
{
	const struct exact_case *c = r->j->c;

	m->rng_fd = c->rng ? open("/dev/urandom", O_RDONLY | O_CLOEXEC) : -1;
	m->balloon = c->balloon;
	m->vsock_fd = pass_on(r->j->host->vsock);
	m->vsock_cid = 3;
	if (c->net)
		m->net[m->nnets++] = (struct machine_net){
			.name = "net0",
			.fd = pass_on(r->j->host->net),
			.stream = true,
			.mac = { 2, 0, 0, 0, 0, 9 },
		};
	if (!c->disk)
		return;
	fake_disk_init(&r->disk, EXACT_DISK_BYTES, false);
	free(r->disk.bytes);
	r->disk.bytes = r->j->host->disk;
	r->disk.later = true;
	*disk = (struct machine_disk){ .id = "root", .disk = &r->disk.disk };
	m->disk = disk;
	m->ndisks = 1;
}

static void make(struct rig *r)
{
	const struct exact_case *c = r->j->c;
	struct console_config con = { .in_fd = -1,
				      .out_fd = r->j->host->console,
				      .log_fd = -1,
				      .listen_fd = { -1, -1 } };
	struct machine_disk disk;
	struct fail why;
	struct machine_config m = {
		.kvm_fd = kvm_open(&why),
		.agent_fd = -1,
		.cpus = c->cpus ? c->cpus : 1,
		.memory_bytes = c->memory ? c->memory : MIB(16),
		.region_max = c->region_max,
		.loop = &r->loop,
		.event = on_event,
		.ctx = r,
		.exited = on_exited,
	};

	if (m.kvm_fd < 0)
		give_up(r, "open", &why);
	pthread_mutex_init(&r->lock, NULL);
	r->stopped.run = on_stopped;
	open_guest(r);
	if (loop_init(&r->loop) || console_create(&r->console, &r->loop, &con))
		abort();
	loop_timer_init(&r->loop, &r->over, on_over);
	m.console = r->console;
	give_devices(r, &m, &disk);
	if (machine_create(&r->machine, &m, &why) < 0)
		give_up(r, "create", &why);
}

/* A booted VM has a random VMGenID: no two runs would be equal. */
static void fix_identity(struct machine *m)
{
	memset(m->vmgenid.id, 0x42, sizeof(m->vmgenid.id));
	memcpy(m->vmgenid.st.id, m->vmgenid.id, sizeof(m->vmgenid.id));
	gmem_write(&m->ram, GPA(PLATFORM_VMGENID), m->vmgenid.id,
		   sizeof(m->vmgenid.id));
}

static void restore(struct rig *r)
{
	const struct machine_restore how = { .clock = CLOCK_CONTINUE,
					     .vmgenid = r->j->vmgenid };
	struct exact_run *run = r->j->run;
	struct machine_saved *s;
	struct fail why;

	if (r->j->mutation)
		mutate_fresh(r->machine, r->j->mutation);
	if (r->j->poison)
		exact_poison(r->machine);
	if (r->j->mutation)
		mutate_poisoned(r->machine, r->j->mutation);
	exact_ram_give(r->machine, r->j->ram);
	if (machine_saved_create(&s, r->machine, &why) < 0)
		give_up(r, "make room for the state", &why);
	if (machine_saved_decode(s, run->state, run->state_len, false, &why) <
	    0)
		give_up(r, "decode", &why);
	if (r->j->mutation)
		mutate_begin(r->j->mutation);
	if (machine_restore(r->machine, s, &how, &r->src, &why) < 0)
		give_up(r, "restore", &why);
	if (r->j->mutation)
		mutate_end(r->machine, r->j->mutation);
	machine_saved_destroy(s);
}

static void begin(struct rig *r)
{
	struct fail why;

	make(r);
	if (r->j->restore) {
		restore(r);
		return;
	}
	if (machine_load(r->machine, &r->src, &why) < 0)
		give_up(r, "load", &why);
	fix_identity(r->machine);
}

/* ---- running it ---- */

/* Requests end when there is nothing else to do. */
static void serve_disk(struct rig *r)
{
	if (!r->disk.disk.lock)
		return;
	pthread_mutex_lock(r->disk.disk.lock);
	fake_disk_end_all(&r->disk);
	pthread_mutex_unlock(r->disk.disk.lock);
}

static void wait_for_point(struct rig *r)
{
	struct exact_run *run = r->j->run;

	while (!r->reached && !run->ended) {
		if (loop_step(&r->loop, r->j->c->disk ? 1 : -1))
			abort();
		if (!r->reached)
			serve_disk(r);
	}
	run->seen[SEEN_DISK_IN_FLIGHT] += r->disk.npending > 0;
}

static void set_goal(struct rig *r)
{
	_locked_(&r->lock);
	r->left = r->j->c->stride ? r->j->c->stride : 1;
	r->exit_hash = 0;
	r->reached = false;
	if (r->j->stop == STOP_TIMES)
		loop_timer_set(&r->over,
			       LEAST_NS +
				   exact_fold(r->j->seed, r->j->run->npoints) %
				       MOST_NS);
}

static uint64_t chain(uint64_t before, const struct exact_point *p)
{
	for (unsigned i = 0; i < PARTS; i++)
		before = exact_fold(before, p->part[i]);
	return before;
}

static void note_point(struct rig *r)
{
	struct exact_run *run = r->j->run;
	uint64_t n = run->npoints;
	struct exact_point *p = &run->point[n];

	if (n == EXACT_MAX_POINTS) {
		exact_fail(run, "more than %u points", EXACT_MAX_POINTS);
		_exit(1);
	}
	memset(p, 0, sizeof(*p));
	p->part[PART_EXIT] = r->exit_hash;
	exact_look(r->machine, p, run->seen);
	run->seen[SEEN_VSOCK_CONNECTED] += *r->j->host->connections > 0;
	if (r->j->dirty)
		p->part[PART_RAM] = oracle_take(r->machine, r->j);
	else if (r->j->c->trace || r->j->save)
		p->part[PART_RAM] =
		    exact_ram_take(r->machine, r->j->ram, NULL, NULL);
	p->chain = chain(n ? run->point[n - 1].chain : 0, p);
	run->npoints++;
}

static void run_to_point(struct rig *r)
{
	set_goal(r);
	machine_run(r->machine);
	wait_for_point(r);
	machine_pause(r->machine);
	/* A point that the guest's end makes void. */
	while (machine_event_waits(r->machine))
		if (loop_step(&r->loop, 0))
			abort();
	if (!r->j->run->ended)
		note_point(r);
}

static void save(struct rig *r)
{
	struct exact_run *run = r->j->run;
	struct machine_saved *s;
	struct fail why;
	uint8_t *data;

	if (machine_saved_create(&s, r->machine, &why) < 0 ||
	    machine_save(r->machine, s, &why) < 0 ||
	    machine_saved_encode(s, &data, &run->state_len, &why) < 0)
		give_up(r, "save", &why);
	if (run->state_len > sizeof(run->state)) {
		exact_fail(run, "%zu bytes of state", run->state_len);
		_exit(1);
	}
	memcpy(run->state, data, run->state_len);
	free(data);
	machine_saved_destroy(s);
}

void exact_work(const struct exact_job *j)
{
	static struct rig r;

	r.j = j;
	begin(&r);
	if (j->dirty)
		oracle_begin(r.machine, j);
	for (uint64_t i = 0; i < j->points && !j->run->ended; i++)
		run_to_point(&r);
	if (j->run->ended)
		exact_ram_take(r.machine, j->ram, NULL, NULL);
	else if (j->save)
		save(&r);
	console_destroy(r.console); /* says what was printed */
	_exit(0);
}

/* ---- a process for it ---- */

int exact_do(const struct exact_job *j)
{
	uint64_t start = now_ns();
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(exact_hang_s);
		exact_work(j);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		exact_fail(j->run, "fork: %s", strerror(errno));
		return -1;
	}
	j->run->hop_ns += now_ns() - start;
	if (WIFSIGNALED(status))
		exact_fail(j->run, "the machine's process: %s",
			   strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		exact_fail(j->run, "the machine's process: exit %d",
			   WEXITSTATUS(status));
	return j->run->error[0] ? -1 : 0;
}

void *exact_shared(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}
