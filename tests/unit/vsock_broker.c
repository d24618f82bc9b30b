/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vsock broker without its sandbox, in a thread: the test plays the VM and
 * the programs of the host. (The sandbox around it: tests/unit/sandbox.c,
 * tests/cli/vsock.bats.)
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util.h"
#include "vsock_broker.h"
#include "vsock_link.h"

#define NAME "v.sock"

static char dir[] = "/tmp/tintype-broker-XXXXXX";
static struct vsock_broker_config cfg;
static int vm; /* the VM's end of the link */
static pthread_t thread;
static bool running;

static void *serve(void *arg)
{
	vsock_broker_run(&cfg);
	close(cfg.listener);
	close(cfg.link);
	return NULL;
}

static void init(void)
{
	signal(SIGPIPE, SIG_IGN);
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
	cfg.name = NAME;
	cfg.owner = geteuid();
	cfg.listener = home_listen_path(NAME);
	cr_assert_geq(cfg.listener, 0);
	cr_assert_eq(vsock_link_pair(&vm, &cfg.link), 0);
	cr_assert_eq(pthread_create(&thread, NULL, serve, NULL), 0);
	running = true;
}

static void join(void)
{
	cr_assert_eq(pthread_join(thread, NULL), 0);
	running = false;
}

static void fini(void)
{
	if (vm >= 0)
		vsock_link_end(vm);
	if (running)
		join();
	unlink(NAME);
	cr_assert_eq(rmdir(dir), 0, "something was left behind");
}

TestSuite(vsock_broker, .init = init, .fini = fini);

/* ---- the line ---- */

Test(vsock_parse, line_when_right_gives_its_port)
{
	const struct {
		const char *line;
		uint32_t port;
	} right[] = { { "CONNECT 0", 0 },
		      { "CONNECT 52", 52 },
		      { "CONNECT 4294967294", 4294967294 },
		      { "CONNECT 0000000052", 52 } };
	uint32_t port;

	for (unsigned i = 0; i < ARRAY_SIZE(right); i++) {
		cr_expect_eq(vsock_parse_connect(right[i].line,
						 strlen(right[i].line), &port),
			     0);
		cr_expect_eq(port, right[i].port);
	}
}

Test(vsock_parse, line_when_wrong_is_refused)
{
	const char *const wrong[] = {
		"",
		"CONNECT",
		"CONNECT ",
		"connect 5",
		"CONNECT  5",
		"CONNECT +5",
		"CONNECT -1",
		"CONNECT 5 ",
		"CONNECT 5\r",
		"CONNECT 0x5",
		"CONNECT 5/../x",
		"CONNECT 4294967295",
		"CONNECT 4294967296",
		"XCONNECT 5",
		"CONNECT 00000000052",
	};
	uint32_t port;

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		cr_expect_eq(
		    vsock_parse_connect(wrong[i], strlen(wrong[i]), &port),
		    -EINVAL, "'%s'", wrong[i]);
	cr_expect_eq(vsock_parse_connect("CONNECT 5\0", 10, &port), -EINVAL);
}

/* ---- host programs ---- */

static int client(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = NAME };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* The broker's next message, waited for. */
static struct vsock_link_msg hear(struct vsock_link_fds *fds)
{
	struct pollfd p = { .fd = vm, .events = POLLIN };
	struct vsock_link_msg m;

	cr_assert_eq(poll(&p, 1, -1), 1);
	cr_assert_eq(vsock_link_take(vm, &m, fds), 1);
	return m;
}

static void expect_hung_up(int fd)
{
	char c;
	ssize_t n = read(fd, &c, 1);

	/* ECONNRESET: it did not read all. */
	cr_assert(n == 0 || (n < 0 && errno == ECONNRESET));
	close(fd);
}

/* Whatever came before is done: messages are answered in order. */
static void sync_with_broker(void)
{
	const struct vsock_link_msg m = { VSOCK_LINK_CONNECT, 99, 99 };
	struct vsock_link_fds fds;

	cr_assert_eq(vsock_link_tell(vm, &m), 0);
	cr_assert_eq(hear(&fds).kind, VSOCK_LINK_REFUSED);
}

Test(vsock_broker, client_is_handed_over_with_what_follows_its_line)
{
	struct vsock_link_fds fds;
	struct vsock_link_msg m;
	char text[16] = "";
	int fd = client();

	say(fd, "CONNECT 52\nafter it");
	m = hear(&fds);
	cr_assert_eq(m.kind, VSOCK_LINK_INCOMING);
	cr_assert_eq(m.guest_port, 52);
	cr_assert_geq(fds.socket, 0);
	cr_assert_eq(read(fds.socket, text, sizeof(text)), 8);
	cr_assert_str_eq(text, "after it");
	/* It does not block, as the VM needs it. */
	cr_assert_eq(read(fds.socket, text, 1), -1);
	cr_assert_eq(errno, EAGAIN);
	vsock_link_close_fds(&fds);
	expect_hung_up(fd);
}

Test(vsock_broker, line_in_pieces_is_put_together)
{
	struct vsock_link_fds fds;
	int fd = client();

	for (const char *s = "CONNECT 4294967294\n"; *s; s++) {
		cr_assert_eq(write(fd, s, 1), 1);
		if (s[1])
			sync_with_broker();
	}
	cr_assert_eq(hear(&fds).guest_port, 4294967294);
	vsock_link_close_fds(&fds);
	close(fd);
}

Test(vsock_broker, client_that_says_something_else_is_hung_up_on)
{
	static char much[100000];
	int fd;

	memset(much, 'x', sizeof(much) - 1);
	fd = client();
	say(fd, "GET / HTTP/1.0\n");
	expect_hung_up(fd);
	fd = client();
	say(fd, "CONNECT 5 of something\n");
	expect_hung_up(fd);
	fd = client();
	say(fd, much);
	expect_hung_up(fd);
	fd = client();
	shutdown(fd, SHUT_WR);
	expect_hung_up(fd);
	sync_with_broker();
}

Test(vsock_broker, clients_that_say_nothing_keep_others_waiting_not_out)
{
	struct vsock_link_fds fds;
	int silent[VSOCK_BROKER_CLIENTS], fd;

	for (unsigned i = 0; i < VSOCK_BROKER_CLIENTS; i++) {
		silent[i] = client();
		sync_with_broker();
	}
	fd = client();
	say(fd, "CONNECT 7\n");
	sync_with_broker();
	/* One leaves; the next one is heard. */
	close(silent[3]);
	cr_assert_eq(hear(&fds).guest_port, 7);
	vsock_link_close_fds(&fds);
	for (unsigned i = 0; i < VSOCK_BROKER_CLIENTS; i++)
		if (i != 3)
			close(silent[i]);
	close(fd);
}

/* ---- the guest's connections ---- */

static void ask(uint32_t host_port, uint32_t guest_port)
{
	const struct vsock_link_msg m = { VSOCK_LINK_CONNECT, host_port,
					  guest_port };

	cr_assert_eq(vsock_link_tell(vm, &m), 0);
}

static int listen_at(const char *name, int backlog)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, name);
	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(listen(fd, backlog), 0);
	return fd;
}

Test(vsock_broker, guest_that_asks_gets_who_listens_on_its_port)
{
	struct vsock_link_fds fds;
	struct vsock_link_msg m;
	int listener = listen_at(NAME "_4000000000", 1), fd;
	char c;

	ask(4000000000, 1234);
	m = hear(&fds);
	cr_assert_eq(m.kind, VSOCK_LINK_CONNECTED);
	cr_assert_eq(m.host_port, 4000000000);
	cr_assert_eq(m.guest_port, 1234);
	fd = accept(listener, NULL, NULL);
	say(fd, "x");
	cr_assert_eq(read(fds.socket, &c, 1), 1);
	/* The token ends: so does the host's input, not its output. */
	close(fds.token);
	cr_assert_eq(read(fd, &c, 1), 0);
	say(fd, "y");
	cr_assert_eq(read(fds.socket, &c, 1), 1);
	close(fds.socket);
	/* And the broker has let go of it. */
	cr_assert_eq(poll(&(struct pollfd){ .fd = fd }, 1, -1), 1);
	unlink(NAME "_4000000000");
}

Test(vsock_broker, guest_that_asks_for_what_nobody_listens_on_is_refused)
{
	struct vsock_link_fds fds;
	struct vsock_link_msg m;
	int fd = open(NAME "_6", O_CREAT | O_RDWR, 0600);

	ask(5, 1);
	m = hear(&fds);
	cr_assert_eq(m.kind, VSOCK_LINK_REFUSED);
	cr_assert_eq(m.host_port, 5);
	cr_assert_eq(m.guest_port, 1);
	ask(6, 2); /* a file, no socket */
	cr_assert_eq(hear(&fds).kind, VSOCK_LINK_REFUSED);
	close(fd);
	unlink(NAME "_6");
}

Test(vsock_broker, program_that_is_busy_is_tried_again)
{
	int listener = listen_at(NAME "_7", 0), got = 0;
	struct vsock_link_fds fds;

	/* More than its queue takes at once. */
	for (uint32_t i = 0; i < 8; i++)
		ask(7, i);
	for (unsigned i = 0; i < 8; i++) {
		cr_assert_eq(hear(&fds).kind, VSOCK_LINK_CONNECTED);
		vsock_link_close_fds(&fds);
		got = accept(listener, NULL, NULL);
		cr_assert_geq(got, 0);
		close(got);
	}
	unlink(NAME "_7");
}

Test(vsock_broker, messages_that_make_no_sense_do_nothing)
{
	const struct vsock_link_msg odd = { 77, 1, 2 };
	struct vsock_link_fds fds;
	struct vsock_link_msg m;

	cr_assert_eq(write(vm, "short", 5), 5);
	cr_assert_eq(vsock_link_tell(vm, &odd), 0);
	sync_with_broker();
	cr_assert_eq(vsock_link_take(vm, &m, &fds), 0);
}

/* A connection to port `port` of the guest, as the VM gets it. */
static struct vsock_link_fds connection(const char *line)
{
	struct vsock_link_fds fds;
	int fd = client();

	say(fd, line);
	cr_assert_eq(hear(&fds).kind, VSOCK_LINK_INCOMING);
	cr_assert_geq(fds.token, 0);
	close(fd);
	return fds;
}

Test(vsock_broker, connections_beyond_the_limit_are_refused_until_one_ends)
{
	static struct vsock_link_fds fds[VSOCK_BROKER_CONNECTIONS];
	struct rlimit l;
	int fd;

	/* The broker's two of each are this process's too. */
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	l.rlim_cur = l.rlim_max;
	if (l.rlim_max < 5000 || setrlimit(RLIMIT_NOFILE, &l))
		cr_skip_test("may not open 5000 files");
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = connection("CONNECT 1\n");
	fd = client();
	say(fd, "CONNECT 2\n");
	expect_hung_up(fd);
	vsock_link_close_fds(&fds[17]);
	sync_with_broker();
	fds[17] = connection("CONNECT 3\n");
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		vsock_link_close_fds(&fds[i]);
}

/* ---- the end ---- */

Test(vsock_broker, end_by_the_vms_word_removes_the_socket)
{
	vsock_link_end(vm);
	vm = -1;
	/* Without waiting for anything more: that is what END is for. */
	cr_assert_eq(access(NAME, F_OK), -1);
}

Test(vsock_broker, end_of_the_vm_removes_the_socket)
{
	close(vm);
	vm = -1;
	join();
	cr_assert_eq(access(NAME, F_OK), -1);
}

Test(vsock_broker, end_leaves_a_socket_that_another_has_put_there)
{
	int other;

	sync_with_broker();
	cr_assert_eq(unlink(NAME), 0);
	other = listen_at(NAME, 1);
	vsock_link_end(vm);
	vm = -1;
	join();
	cr_assert_eq(access(NAME, F_OK), 0);
	close(other);
}
