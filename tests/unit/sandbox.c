/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox from inside: every row of the policy is tried both ways against
 * the real kernel, every other system call once, and some attacks by name. A
 * child process closes the sandbox and makes one call; SIGSYS is "denied".
 */
#include <criterion/criterion.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "console_impl.h"
#include "fdio.h"
#include "log.h"
#include "sandbox.h"
#include "sandbox_policy.h"
#include "thread.h"
#include "util.h"
#include "writer.h"

/* More than x86-64 has; the kernel's table ended at 463 in Linux 6.12. */
#define SYSCALLS 512
#define X32_BIT	 0x40000000

enum outcome { LIVED, DENIED, HUNG };

static const struct {
	const char *name;
	unsigned thread;
	int (*close)(void);
	unsigned most_calls;
} kinds[] = {
	{ "vcpu", SANDBOX_VCPU, sandbox_vcpu, 12 },
	{ "writer", SANDBOX_WRITER, sandbox_writer, 25 },
	{ "io", SANDBOX_IO, sandbox_io, 25 },
	{ "broker", SANDBOX_BROKER, sandbox_broker, 18 },
};

static void skip_without_filters(void)
{
	struct sandbox_report r;

	sandbox_report(&r);
	if (!r.filters)
		cr_skip_test("an instrumented build has no filters");
}

/* Runs fn in a child; its wait status. */
static int in_child(void (*fn)(const void *), const void *arg)
{
	int status;
	pid_t pid = fork();

	cr_assert(pid >= 0);
	if (pid == 0) {
		alarm(20);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		fn(arg);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return status;
}

struct attempt {
	int (*close)(void);
	long nr;
	uint64_t arg[6];
};

static void attempt_child(const void *p)
{
	const struct attempt *a = p;

	if (a->close())
		_exit(99);
	syscall(a->nr, a->arg[0], a->arg[1], a->arg[2], a->arg[3], a->arg[4],
		a->arg[5]);
}

static enum outcome outcome_of(int status)
{
	cr_assert(!WIFEXITED(status) || WEXITSTATUS(status) != 99,
		  "the sandbox could not be closed");
	if (!WIFSIGNALED(status))
		return LIVED;
	if (WTERMSIG(status) == SIGALRM)
		return HUNG;
	return WTERMSIG(status) == SIGSYS ? DENIED : LIVED;
}

static enum outcome try_call(const struct attempt *a)
{
	return outcome_of(in_child(attempt_child, a));
}

/* What the policy says of a call, read straight from the table. */
static bool policy_allows(unsigned thread, const struct attempt *a)
{
	for (size_t i = 0; i < sandbox_policy_rules; i++) {
		const struct sandbox_rule *r = &sandbox_policy[i];
		bool all = r->nr == a->nr && (r->threads & thread);

		for (unsigned j = 0; all && j < SANDBOX_MAX_CONDITIONS; j++) {
			const struct sandbox_condition *c = &r->when[j];

			all = !c->arg ||
			      (a->arg[c->arg - 1] & c->mask) == c->value;
		}
		if (all)
			return true;
	}
	return false;
}

/*
 * Arguments that meet the row's conditions and are otherwise harmless: -1 is
 * no fd, no address and no length that any of these calls takes.
 */
static struct attempt attempt_for(const struct sandbox_rule *r,
				  int (*close_it)(void))
{
	struct attempt a = { .close = close_it, .nr = r->nr };

	memset(a.arg, 0xff, sizeof(a.arg));
	for (unsigned i = 0; i < SANDBOX_MAX_CONDITIONS; i++) {
		const struct sandbox_condition *c = &r->when[i];

		if (c->arg)
			a.arg[c->arg - 1] = c->value;
	}
	return a;
}

/* The process that a child's filter is patched for is the child. */
static bool about_own_pid(const struct sandbox_rule *r)
{
	return r->when[0].arg && r->when[0].value == SANDBOX_PID_MARK;
}

Test(sandbox, each_row_when_its_conditions_hold_lives)
{
	skip_without_filters();
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t i = 0; i < sandbox_policy_rules; i++) {
			const struct sandbox_rule *r = &sandbox_policy[i];
			struct attempt a = attempt_for(r, kinds[k].close);

			if (!(r->threads & kinds[k].thread) || about_own_pid(r))
				continue;
			cr_expect_eq(try_call(&a), LIVED, "%s: row %zu: %s",
				     kinds[k].name, i, r->name);
		}
}

/* Each row of a call with conditions, and one of them off by one bit. */
static void bits_off(size_t k, const struct sandbox_rule *r, unsigned cond)
{
	const struct sandbox_condition *c = &r->when[cond];

	for (unsigned bit = 0; c->arg && bit < 64; bit++) {
		struct attempt a = attempt_for(r, kinds[k].close);

		a.arg[c->arg - 1] ^= UINT64_C(1) << bit;
		if (!(c->mask & UINT64_C(1) << bit) ||
		    policy_allows(kinds[k].thread, &a))
			continue;
		cr_expect_eq(try_call(&a), DENIED, "%s: %s, argument %u = %lx",
			     kinds[k].name, r->name, c->arg, a.arg[c->arg - 1]);
	}
}

Test(sandbox, each_row_when_one_bit_of_a_condition_is_off_is_denied)
{
	skip_without_filters();
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t i = 0; i < sandbox_policy_rules; i++)
			for (unsigned c = 0; c < SANDBOX_MAX_CONDITIONS; c++)
				if (sandbox_policy[i].threads & kinds[k].thread)
					bits_off(k, &sandbox_policy[i], c);
}

/* A row of one kind of thread that is none of the other's. */
Test(sandbox, each_row_of_another_thread_is_denied)
{
	skip_without_filters();
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t i = 0; i < sandbox_policy_rules; i++) {
			const struct sandbox_rule *r = &sandbox_policy[i];
			struct attempt a = attempt_for(r, kinds[k].close);

			if (policy_allows(kinds[k].thread, &a))
				continue;
			cr_expect_eq(try_call(&a), DENIED, "%s: row %zu: %s",
				     kinds[k].name, i, r->name);
		}
}

static bool in_policy(unsigned thread, long nr)
{
	for (size_t i = 0; i < sandbox_policy_rules; i++)
		if (sandbox_policy[i].nr == nr &&
		    (sandbox_policy[i].threads & thread))
			return true;
	return false;
}

/* uretprobe and uprobe: the kernel lets them past every filter, and answers
 * SIGILL unless they come from a trampoline of its own. */
static bool probe_call(long nr)
{
	return nr == 335 || nr == 336;
}

Test(sandbox, each_call_outside_the_table_is_denied)
{
	skip_without_filters();
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (long nr = 0; nr < SYSCALLS; nr++) {
			struct attempt a = { .close = kinds[k].close,
					     .nr = nr };

			memset(a.arg, 0xff, sizeof(a.arg));
			if (in_policy(kinds[k].thread, nr) || probe_call(nr))
				continue;
			cr_expect_eq(try_call(&a), DENIED, "%s: call %ld",
				     kinds[k].name, nr);
		}
}

Test(sandbox, each_allowed_call_by_its_x32_number_is_denied)
{
	skip_without_filters();
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t i = 0; i < sandbox_policy_rules; i++) {
			struct attempt a =
			    attempt_for(&sandbox_policy[i], kinds[k].close);

			a.nr |= X32_BIT;
			cr_expect_eq(try_call(&a), DENIED, "%s: row %zu",
				     kinds[k].name, i);
		}
}

/* Number 1 is write to us and exit to a 32-bit program. */
static void call_as_32_bit(const void *p)
{
	const struct attempt *a = p;
	long nr = 1;

	if (a->close())
		_exit(99);
	__asm__ volatile("int $0x80" : "+a"(nr) : "b"(0) : "memory");
	_exit(0);
}

Test(sandbox, a_32_bit_call_is_denied)
{
	skip_without_filters();
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct attempt a = { .close = kinds[k].close };
		int status = in_child(call_as_32_bit, &a);

		/* SIGSEGV: a kernel without 32-bit calls. */
		cr_expect(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSYS ||
						  WTERMSIG(status) == SIGSEGV));
	}
}

Test(sandbox, the_calls_are_few)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		unsigned n = 0;

		for (long nr = 0; nr < SYSCALLS; nr++)
			n += in_policy(kinds[k].thread, nr);
		cr_expect_leq(n, kinds[k].most_calls, "%s: %u calls",
			      kinds[k].name, n);
	}
}

Test(sandbox, each_row_has_a_reason_and_a_reader)
{
	for (size_t i = 0; i < sandbox_policy_rules; i++) {
		const struct sandbox_rule *r = &sandbox_policy[i];

		cr_expect(r->reason[0] && r->threads &&
			      !(r->threads &
				~(unsigned)(SANDBOX_ALL | SANDBOX_BROKER)),
			  "row %zu: %s", i, r->name);
	}
}

/* ---- attacks by name: each would succeed outside the sandbox ---- */

static char stack[16384];

static int child_of_clone(void *p)
{
	return 0;
}

static void attack_open(void)
{
	open("/etc/passwd", O_RDONLY);
}

static void attack_kvm(void)
{
	open("/dev/kvm", O_RDWR);
}

static void attack_exec(void)
{
	char *const argv[] = { (char *)"true", NULL };

	execv("/bin/true", argv);
}

static void attack_fork(void)
{
	if (fork() == 0)
		_exit(0);
}

static void attack_clone(void)
{
	clone(child_of_clone, stack + sizeof(stack), SIGCHLD, NULL);
}

static void attack_socket(void)
{
	socket(AF_UNIX, SOCK_STREAM, 0);
}

static void attack_internet(void)
{
	socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static void attack_ptrace(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void attack_map_code(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
	     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void attack_map_shared(void)
{
	mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void attack_make_code(void)
{
	mprotect((void *)((uintptr_t)stack & ~(uintptr_t)4095), 4096,
		 PROT_READ | PROT_WRITE | PROT_EXEC);
}

static void attack_type_into_terminal(void)
{
	ioctl(0, TIOCSTI, "x");
}

static void attack_kvm_memory(void)
{
	struct kvm_userspace_memory_region r = { 0 };

	ioctl(-1, KVM_SET_USER_MEMORY_REGION, &r);
}

static void attack_log_of_dirty_pages(void)
{
	struct kvm_clear_dirty_log log = { 0 };

	ioctl(-1, KVM_CLEAR_DIRTY_LOG, &log);
}

static void attack_run_the_guest(void)
{
	ioctl(-1, KVM_RUN, 0);
}

static void attack_set_registers(void)
{
	struct kvm_regs regs = { 0 };

	ioctl(-1, KVM_SET_REGS, &regs);
}

static void attack_new_vcpu(void)
{
	ioctl(-1, KVM_CREATE_VCPU, 0);
}

static void attack_map_file_as_code(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, 0, 0);
}

static void attack_map_file_shared(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0);
}

static void attack_give_fd(void)
{
	struct msghdr h = { 0 };

	sendmsg(0, &h, MSG_DONTWAIT);
}

static void attack_look_by_name(void)
{
	struct stat st;

	stat("/etc/passwd", &st);
}

static void attack_name_a_file(void)
{
	linkat(0, "", AT_FDCWD, "/tmp/tintype-must-not-be", AT_EMPTY_PATH);
}

static void attack_rename(void)
{
	rename("/tmp/tintype-is-not", "/tmp/tintype-must-not-be");
}

static void attack_io_uring(void)
{
	char params[256] = { 0 };

	syscall(SYS_io_uring_setup, 1, params);
}

static void attack_kill_parent(void)
{
	kill(getppid(), 0);
}

static void attack_tgkill_parent(void)
{
	/* Its number is known: getppid itself is denied. */
	syscall(SYS_tgkill, 1, 1, 0);
}

static void attack_take_fd(void)
{
	struct msghdr h = { 0 };

	recvmsg(0, &h, 0);
}

static void attack_dup(void)
{
	dup(0);
}

static void attack_loosen(void)
{
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void attack_handler(void)
{
	signal(SIGSYS, SIG_IGN);
}

static void attack_namespace(void)
{
	unshare(CLONE_NEWUSER);
}

static const struct {
	const char *name;
	void (*run)(void);
	unsigned but; /* threads whose work it is */
} attacks[] = {
	{ "open a file", attack_open, 0 },
	{ "open /dev/kvm", attack_kvm, 0 },
	{ "execute a program", attack_exec, 0 },
	{ "fork", attack_fork, 0 },
	{ "clone", attack_clone, 0 },
	{ "make a socket", attack_socket, 0 },
	{ "reach the network", attack_internet, 0 },
	{ "be traced", attack_ptrace, 0 },
	{ "map executable memory", attack_map_code, 0 },
	{ "map shared memory", attack_map_shared, 0 },
	{ "make memory executable", attack_make_code, 0 },
	{ "type into the terminal", attack_type_into_terminal, 0 },
	{ "give the guest more memory", attack_kvm_memory, SANDBOX_WRITER },
	{ "clear the log of dirty pages", attack_log_of_dirty_pages,
	  SANDBOX_WRITER },
	{ "run the guest", attack_run_the_guest, SANDBOX_VCPU },
	{ "set a vCPU's registers", attack_set_registers, SANDBOX_IO },
	{ "make a vCPU", attack_new_vcpu, 0 },
	{ "map a file as code", attack_map_file_as_code, 0 },
	{ "map a file shared", attack_map_file_shared, 0 },
	{ "give an fd away", attack_give_fd, 0 },
	{ "look at a file by its name", attack_look_by_name, SANDBOX_BROKER },
	{ "give a file a name", attack_name_a_file, 0 },
	{ "rename a file", attack_rename, 0 },
	{ "set up io_uring", attack_io_uring, 0 },
	{ "signal the parent", attack_kill_parent, 0 },
	{ "signal a thread of init", attack_tgkill_parent, 0 },
	{ "take an fd from a socket", attack_take_fd, 0 },
	{ "duplicate an fd", attack_dup, 0 },
	{ "become dumpable", attack_loosen, 0 },
	{ "handle SIGSYS", attack_handler, 0 },
	{ "enter a user namespace", attack_namespace, 0 },
};

struct attack_run {
	int (*close)(void);
	void (*run)(void);
};

static void attack_child(const void *p)
{
	const struct attack_run *a = p;

	if (a->close())
		_exit(99);
	a->run();
}

Test(sandbox, each_attack_is_denied)
{
	skip_without_filters();
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t i = 0; i < ARRAY_SIZE(attacks); i++) {
			struct attack_run a = { kinds[k].close,
						attacks[i].run };
			int status;

			if (attacks[i].but & kinds[k].thread)
				continue;
			status = in_child(attack_child, &a);
			cr_expect_eq(outcome_of(status), DENIED, "%s: %s",
				     kinds[k].name, attacks[i].name);
		}
}

/* ---- what must still work inside ---- */

static _Atomic bool kicked;

static void on_kick(int sig)
{
	kicked = true;
}

struct worker {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int event_fd;
	bool ready, quit;
	int confined;
	struct thread_id id;
};

/* As a vCPU's thread lives: locks, a wake-up, a kick, its end. */
static void *worker_thread(void *p)
{
	struct worker *w = p;
	uint64_t one = 1;

	w->id = thread_learn();
	w->confined = sandbox_vcpu();
	pthread_mutex_lock(&w->lock);
	w->ready = true;
	pthread_cond_broadcast(&w->changed);
	while (!w->quit)
		pthread_cond_wait(&w->changed, &w->lock);
	pthread_mutex_unlock(&w->lock);
	if (fd_write(w->event_fd, &one, sizeof(one)) != sizeof(one))
		w->confined = -errno;
	return NULL;
}

static void life_of_threads(const void *unused)
{
	struct worker w = { .lock = PTHREAD_MUTEX_INITIALIZER,
			    .changed = PTHREAD_COND_INITIALIZER,
			    .event_fd = eventfd(0, 0) };
	struct sigaction sa = { .sa_handler = on_kick };
	uint64_t count = 0;
	pthread_t t;

	sigaction(SIGUSR1, &sa, NULL);
	if (sandbox_harden(NULL) || pthread_create(&t, NULL, worker_thread, &w))
		_exit(1);
	pthread_mutex_lock(&w.lock);
	while (!w.ready)
		pthread_cond_wait(&w.changed, &w.lock);
	pthread_mutex_unlock(&w.lock);
	if (sandbox_io() || w.confined)
		_exit(2);
	if (thread_signal(w.id, SIGUSR1))
		_exit(5);
	while (!kicked)
		;
	pthread_mutex_lock(&w.lock);
	w.quit = true;
	pthread_cond_broadcast(&w.changed);
	pthread_mutex_unlock(&w.lock);
	if (fd_read(w.event_fd, &count, sizeof(count)) != sizeof(count))
		_exit(3);
	pthread_join(t, NULL);
	_exit(w.confined ? 4 : 0);
}

Test(sandbox, threads_lock_wake_kick_and_join_inside)
{
	int status = in_child(life_of_threads, NULL);

	cr_assert(WIFEXITED(status), "signal %d", WTERMSIG(status));
	cr_assert_eq(WEXITSTATUS(status), 0);
}

static void memory_inside(const void *p_close)
{
	int (*const *close_it)(void) = p_close;
	char *p = NULL;

	if ((*close_it)())
		_exit(1);
	for (size_t bytes = 1; bytes <= MIB(16); bytes *= 3) {
		char *q = realloc(p, bytes);

		if (!q)
			_exit(2);
		memset(q, 1, bytes);
		p = q;
	}
	free(p);
	_exit(0);
}

Test(sandbox, malloc_realloc_and_free_of_any_size_work_on_io_and_writer)
{
	int (*const close_it[])(void) = { sandbox_io, sandbox_writer };

	for (size_t i = 0; i < ARRAY_SIZE(close_it); i++) {
		int status = in_child(memory_inside, &close_it[i]);

		cr_assert(WIFEXITED(status), "signal %d", WTERMSIG(status));
		cr_assert_eq(WEXITSTATUS(status), 0);
	}
}

/* The process's state, as /proc tells it. */
static char state_of(pid_t pid)
{
	char path[32], text[128] = "";
	const char *p;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		_exit(1);
	close(fd);
	p = strrchr(text, ')');
	return p ? p[2] : '?';
}

static void stop_and_go_on(pid_t pid)
{
	while (state_of(pid) != 'S')
		;
	kill(pid, SIGSTOP);
	while (state_of(pid) != 'T')
		;
	kill(pid, SIGCONT);
	while (state_of(pid) != 'S')
		;
}

/* As `kill -STOP` does, and a freezer of cgroups: some calls go on by another
 * one than they began with. */
static void stopped_output(const void *unused)
{
	char buf[65536] = { 0 };
	pid_t us = getpid();
	int p[2];

	if (pipe2(p, O_NONBLOCK))
		_exit(1);
	while (write(p[1], buf, sizeof(buf)) > 0)
		;
	if (fork() == 0) {
		stop_and_go_on(us);
		_exit(read(p[0], buf, sizeof(buf)) > 0 ? 0 : 1);
	}
	if (sandbox_io())
		_exit(2);
	_exit(console_writable(p[1], 15000) ? 0 : 3);
}

static struct loop stopped;

static void stopped_ready(struct loop_source *s, uint32_t events)
{
	loop_quit(&stopped);
}

static void stopped_timer(struct loop_timer *t)
{
	_exit(3);
}

static void stopped_loop(const void *unused)
{
	struct loop_source s = { .ready = stopped_ready, .events = EPOLLIN };
	struct loop_timer t;
	pid_t us = getpid();
	int p[2];

	if (pipe(p) || loop_init(&stopped))
		_exit(1);
	s.fd = p[0];
	loop_timer_init(&stopped, &t, stopped_timer);
	loop_timer_set(&t, UINT64_C(15000000000));
	if (loop_add(&stopped, &s))
		_exit(1);
	if (fork() == 0) {
		stop_and_go_on(us);
		_exit(write(p[1], "", 1) == 1 ? 0 : 1);
	}
	if (sandbox_io())
		_exit(2);
	_exit(loop_run(&stopped) ? 4 : 0);
}

/* The writer, which waits for a file; it comes after the stop. */
static void stopped_writer(const void *unused)
{
	const atomic_bool cancel = false;
	pid_t us = getpid();
	int pair[2], fd;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		_exit(1);
	if (fork() == 0) {
		stop_and_go_on(us);
		/* Nothing that it takes: it must have waited for it. */
		_exit(write(pair[1], "?", 1) == 1 ? 0 : 1);
	}
	if (sandbox_writer())
		_exit(2);
	_exit(fd_receive(pair[0], &fd, 1, &cancel) == -EPROTO ? 0 : 3);
}

Test(sandbox, a_wait_that_was_stopped_goes_on_inside)
{
	void (*const wait[])(const void *) = { stopped_output, stopped_loop,
					       stopped_writer };

	for (size_t i = 0; i < ARRAY_SIZE(wait); i++) {
		int status = in_child(wait[i], NULL);

		cr_assert(WIFEXITED(status), "%zu: signal %d", i,
			  WTERMSIG(status));
		cr_assert_eq(WEXITSTATUS(status), 0, "%zu: step %d", i,
			     WEXITSTATUS(status));
	}
}

/* As the VM of an ordinary user: for root the owner need not be asked. */
static void client_inside(const void *unused)
{
	struct sockaddr_un any = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(any);
	struct console_config c = {
		.in_fd = -1, .out_fd = -1, .log_fd = -1, .listen_fd = { -1, -1 }
	};
	struct console_counters count;
	struct console *con;
	struct loop loop;
	int s, client;

	if (geteuid() == 0 && setresuid(65534, 65534, 65534))
		_exit(1);
	s = socket(AF_UNIX, SOCK_STREAM, 0);
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	/* A name that the kernel makes up. */
	if (bind(s, (struct sockaddr *)&any, sizeof(sa_family_t)) ||
	    listen(s, 1) || getsockname(s, (struct sockaddr *)&any, &len) ||
	    connect(client, (struct sockaddr *)&any, len))
		_exit(2);
	c.listen_fd[0] = s;
	if (loop_init(&loop) || console_create(&con, &loop, &c) || sandbox_io())
		_exit(3);
	for (int i = 0; i < 3; i++)
		if (fd_write(client, "x", 1) != 1 || loop_step(&loop, 0))
			_exit(4);
	console_counters(con, &count);
	_exit(count.refused_clients ? 5 : 0);
}

Test(sandbox, a_console_client_is_taken_inside_where_the_user_is_not_root)
{
	int status = in_child(client_inside, NULL);

	cr_assert(WIFEXITED(status), "signal %d", WTERMSIG(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "step %d", WEXITSTATUS(status));
}

/* The message of a child's own bug, as it stands in the log. */
struct bug {
	int (*close)(void);
	void (*commit)(void);
	int log;
};

static volatile size_t too_long = 64;

static void bug_assertion(void)
{
	assert(too_long == 0);
}

/* What the compiler calls. */
void __stack_chk_fail(void) __attribute__((noreturn));
void __chk_fail(void) __attribute__((noreturn));

static void bug_stack(void)
{
	__stack_chk_fail();
}

static void bug_buffer(void)
{
	__chk_fail();
}

static void bug_child(const void *p)
{
	const struct bug *b = p;

	signal(SIGABRT, SIG_DFL);
	log_setup(b->log, LOG_WARN);
	if (b->close())
		_exit(99);
	b->commit();
}

static void expect_bug(void (*commit)(void), const char *message)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct bug b = { .close = kinds[k].close, .commit = commit };
		char text[512] = "";
		int pipes[2], status;

		cr_assert_eq(pipe(pipes), 0);
		b.log = pipes[1];
		status = in_child(bug_child, &b);
		cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
			  "%s: status %x", kinds[k].name, status);
		close(pipes[1]);
		cr_expect_gt(read(pipes[0], text, sizeof(text) - 1), 0);
		cr_expect(strstr(text, message), "%s: '%s'", kinds[k].name,
			  text);
		close(pipes[0]);
	}
}

Test(sandbox, a_failed_assertion_inside_says_which_and_aborts)
{
	expect_bug(bug_assertion, "assertion failed: too_long == 0");
}

Test(sandbox, a_smashed_stack_or_buffer_inside_says_so_and_aborts)
{
	expect_bug(bug_stack, "a function wrote past its stack frame");
	expect_bug(bug_buffer, "a library call would have written past");
}

static void bug_unheard(const void *unused)
{
	signal(SIGABRT, SIG_IGN);
	signal(SIGILL, SIG_IGN);
	log_setup(-1, LOG_WARN);
	if (sandbox_io())
		_exit(99);
	bug_assertion();
}

Test(sandbox, a_failed_assertion_ends_us_where_its_signal_is_ignored)
{
	int status = in_child(bug_unheard, NULL);

	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGILL,
		  "status %x", status);
}

/* ---- stage 1 and 2 ---- */

static void closing(const void *unused)
{
	int kept[3] = { dup(0), dup(0), dup(0) };
	int lost[2] = { dup(0), fcntl(0, F_DUPFD, 200) };
	const int keep[] = { kept[2], -1, kept[0], kept[1], kept[0], 2 };

	if (sandbox_close_others(keep, ARRAY_SIZE(keep)))
		_exit(1);
	for (unsigned i = 0; i < 3; i++)
		if (fcntl(kept[i], F_GETFD) < 0 || fcntl((int)i, F_GETFD) < 0)
			_exit(2);
	for (unsigned i = 0; i < 2; i++)
		if (fcntl(lost[i], F_GETFD) >= 0)
			_exit(3);
	_exit(0);
}

Test(sandbox, close_others_keeps_what_is_listed_in_any_order)
{
	cr_assert_eq(in_child(closing, NULL), 0);
}

/* Each second one of many is kept, told from the highest down. */
static void closing_many(const void *unused)
{
	enum { FIRST = 100, MANY = 600 };
	int keep[MANY / 2];

	for (int i = 0; i < MANY; i++) {
		if (dup2(0, FIRST + i) < 0)
			_exit(1);
		if (i % 2)
			keep[MANY / 2 - 1 - i / 2] = FIRST + i;
	}
	if (sandbox_close_others(keep, ARRAY_SIZE(keep)))
		_exit(2);
	for (int i = 0; i < MANY; i++)
		if ((fcntl(FIRST + i, F_GETFD) >= 0) != (i % 2))
			_exit(3);
	_exit(0);
}

Test(sandbox, close_others_keeps_as_many_as_there_are)
{
	int status = in_child(closing_many, NULL);

	cr_assert(WIFEXITED(status), "signal %d", WTERMSIG(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "step %d", WEXITSTATUS(status));
}

static void hardened(const void *unused)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct cap[2];
	struct sandbox_report report;
	struct rlimit core;

	sandbox_report(&report);
	if (sandbox_harden(NULL))
		_exit(1);
	if (getrlimit(RLIMIT_CORE, &core) || core.rlim_max != 0)
		_exit(2);
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		_exit(3);
	if (syscall(SYS_capget, &head, cap) || cap[0].effective ||
	    cap[0].permitted || cap[0].inheritable || cap[1].permitted)
		_exit(4);
	/* An instrumented build stays dumpable and can open files. */
	if (report.filters && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		_exit(5);
	_exit(0);
}

Test(sandbox, harden_leaves_no_dumps_no_privileges_no_capabilities)
{
	int status = in_child(hardened, NULL);

	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "check %d", WEXITSTATUS(status));
}

static const struct sockaddr_un nobody = { .sun_family = AF_UNIX,
					   .sun_path = "\0tintype-test" };

static void fenced(const void *p)
{
	const struct sandbox_report *report = p;
	struct sockaddr *to = (struct sockaddr *)&nobody;
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	if (sandbox_harden(NULL))
		_exit(1);
	if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
		_exit(2);
	if (open("/dev/null", O_WRONLY) >= 0 || errno != EACCES)
		_exit(3);
	if (mkdir("/tmp/tintype-must-not-be", 0700) == 0 || errno != EACCES)
		_exit(4);
	if (report->landlock_abi >= 6) {
		if (connect(s, to, sizeof(nobody)) == 0 || errno != EPERM)
			_exit(5);
		if (kill(getppid(), 0) == 0 || errno != EPERM)
			_exit(6);
	}
	_exit(0);
}

Test(sandbox, harden_fences_off_files_abstract_sockets_and_signals)
{
	struct sandbox_report report;
	int status, s = socket(AF_UNIX, SOCK_STREAM, 0);

	sandbox_report(&report);
	if (report.landlock_abi == 0)
		cr_skip_test("no Landlock in this kernel or build");
	/* Somebody listens, so that only the fence can refuse. */
	cr_assert_eq(bind(s, (const struct sockaddr *)&nobody, sizeof(nobody)),
		     0);
	cr_assert_eq(listen(s, 1), 0);
	status = in_child(fenced, &report);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "check %d", WEXITSTATUS(status));
	close(s);
}
