/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console against each kind of sink: pipe, file, terminal, socket. The
 * guest is a toy; the loop is stepped by hand.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>

#include "console.h"
#include "log.h"
#include "terminal.h"
#include "util.h"

static struct loop loop;
static struct console *con;
static struct console_config cfg;

static struct guest {
	struct console_guest g;
	char got[65536];
	size_t ngot, room;
	unsigned writable;
} guest;

static size_t guest_input(struct console_guest *g, const uint8_t *data,
			  size_t len)
{
	len = MIN(len, guest.room);
	memcpy(guest.got + guest.ngot, data, len);
	guest.ngot += len;
	guest.room -= len;
	return len;
}

static void guest_writable(struct console_guest *g)
{
	guest.writable++;
}

static void setup(void)
{
	log_setup(STDERR_FILENO, LOG_ERROR);
	cr_assert_eq(loop_init(&loop), 0);
	guest = (struct guest){ .g = { guest_input, guest_writable } };
	guest.room = sizeof(guest.got);
	cfg = (struct console_config){
		.in_fd = -1, .out_fd = -1, .log_fd = -1, .listen_fd = { -1, -1 }
	};
}

static void teardown(void)
{
	if (con)
		console_destroy(con);
	loop_fini(&loop);
}

TestSuite(console, .init = setup, .fini = teardown, .timeout = 60);

static void start(void)
{
	cr_assert_eq(console_create(&con, &loop, &cfg), 0);
	console_connect(con, &guest.g);
}

/* Until nothing is left to do: rounds enough for all that these tests start. */
static void settle(void)
{
	for (int i = 0; i < 200; i++)
		cr_assert_eq(loop_step(&loop, 0), 0);
}

/* For what comes through a terminal, which the kernel passes on later; the
 * test's timeout is the end of waiting. */
#define until(condition)                                                       \
	do                                                                     \
		cr_assert_eq(loop_step(&loop, 1), 0);                          \
	while (!(condition))

static void print(const char *s)
{
	for (; *s; s++)
		cr_assert(console_put(con, (uint8_t)*s));
	settle();
}

static struct console_counters counters(void)
{
	struct console_counters n;

	console_counters(con, &n);
	return n;
}

static const char *read_some(int fd)
{
	static char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	buf[MAX(n, 0)] = 0;
	return buf;
}

/* Waits for exactly this to come out of the terminal. */
static void expect_from(int m, const char *want)
{
	char buf[256] = "";
	size_t n = 0;

	while (n < strlen(want)) {
		ssize_t r = read(m, buf + n, sizeof(buf) - 1 - n);

		n += (size_t)MAX(r, 0);
		loop_step(&loop, 1);
	}
	cr_assert_str_eq(buf, want);
}

/* The guest prints a known sequence until it is refused; how long it got. */
static size_t flood(size_t from, size_t max)
{
	size_t n = 0;

	while (n < max && console_put(con, (uint8_t)((from + n) % 251))) {
		n++;
		if (n % 1000 == 0)
			settle();
	}
	return n;
}

/* Reads `len` bytes of that sequence. */
static void check_flood(int fd, size_t from, size_t len)
{
	uint8_t buf[4096];

	for (size_t at = 0; at < len;) {
		ssize_t n = read(fd, buf, MIN(sizeof(buf), len - at));

		if (n < 0 && errno == EAGAIN) {
			settle();
			continue;
		}
		cr_assert_gt(n, 0);
		for (ssize_t i = 0; i < n; i++, at++)
			cr_assert_eq(buf[i], (from + at) % 251, "at %zu", at);
	}
}

static void nonblocking(int fd)
{
	cr_assert_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

static size_t log_bytes(void)
{
	struct stat st;

	cr_assert_eq(fstat(cfg.log_fd, &st), 0);
	return (size_t)st.st_size;
}

/* The log holds the end of the first `n` bytes of that sequence. */
static void check_log(size_t n)
{
	size_t have = log_bytes();
	uint8_t buf[4096];
	ssize_t r;

	cr_assert_leq(have, n);
	for (size_t at = 0; at < have; at += (size_t)r) {
		r = pread(cfg.log_fd, buf, sizeof(buf), (off_t)at);
		cr_assert_gt(r, 0);
		for (ssize_t i = 0; i < r; i++)
			cr_assert_eq(buf[i], (n - have + at + (size_t)i) % 251);
	}
}

/* ---- stdout ---- */

static int pipe_out(void)
{
	int fd[2];

	cr_assert_eq(pipe(fd), 0);
	nonblocking(fd[0]);
	cfg.out_fd = fd[1];
	return fd[0];
}

Test(console, output_when_pipe_arrives_in_order)
{
	int r = pipe_out();

	start();
	print("hello, ");
	print("world");
	cr_assert_str_eq(read_some(r), "hello, world");
	cr_assert_eq(counters().out_bytes, 12);
}

Test(console, full_pipe_holds_the_guest_up_and_loses_nothing)
{
	int r = pipe_out();
	size_t n, more;

	start();
	n = flood(0, SIZE_MAX);
	cr_assert_geq(n, CONSOLE_RING_BYTES);
	cr_assert_leq(n, 2 * CONSOLE_RING_BYTES);
	cr_assert_eq(guest.writable, 0);
	check_flood(r, 0, CONSOLE_RING_BYTES);
	settle();
	cr_assert_eq(guest.writable, 1);
	more = flood(n, 1000);
	cr_assert_eq(more, 1000);
	check_flood(r, CONSOLE_RING_BYTES, n + more - CONSOLE_RING_BYTES);
	cr_assert_eq(guest.writable, 1);
	cr_assert_eq(counters().dropped_output, 0);
}

Test(console, shared_pipe_stays_blocking_and_is_never_blocked_on)
{
	int r = pipe_out();

	start();
	flood(0, SIZE_MAX); /* would not come back */
	cr_assert_eq(fcntl(cfg.out_fd, F_GETFL) & O_NONBLOCK, 0);
	close(r);
}

static void *print_a_megabyte(void *arg)
{
	for (size_t at = 0; at < 1 << 20;)
		at += console_put(con, (uint8_t)(at % 251));
	return NULL;
}

static void *check_a_megabyte(void *arg)
{
	int *r = arg;

	check_flood(*r, 0, 1 << 20);
	loop_quit(&loop);
	return NULL;
}

Test(console, flood_of_another_thread_arrives_whole)
{
	int r = pipe_out();
	pthread_t writer, reader;

	cr_assert_eq(fcntl(r, F_SETFL, 0), 0);
	start();
	pthread_create(&writer, NULL, print_a_megabyte, NULL);
	pthread_create(&reader, NULL, check_a_megabyte, &r);
	cr_assert_eq(loop_run(&loop), 0);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
}

Test(console, closed_reader_is_counted_once_and_the_guest_goes_on)
{
	int r = pipe_out();

	start();
	print("a");
	close(r);
	cr_assert_eq(flood(0, 300000), 300000);
	settle();
	cr_assert_eq(counters().failed_writes, 1);
	cr_assert_eq(counters().dropped_output, 300000);
}

Test(console, pipe_that_closes_while_it_holds_the_guest_up_lets_it_go)
{
	int r = pipe_out();

	start();
	flood(0, SIZE_MAX);
	close(r);
	settle();
	cr_assert_eq(guest.writable, 1);
	cr_assert_eq(flood(0, 100000), 100000);
}

Test(console, output_when_file_is_appended)
{
	FILE *f = tmpfile();
	char buf[16] = "";

	fputs("old ", f);
	fflush(f);
	cr_assert_eq(fcntl(fileno(f), F_SETFL, O_APPEND), 0);
	cfg.out_fd = fileno(f);
	start();
	print("new");
	cr_assert_eq(pread(fileno(f), buf, 15, 0), 7);
	cr_assert_str_eq(buf, "old new");
}

Test(console, full_disk_loses_bytes_and_the_guest_goes_on)
{
	cfg.out_fd = open("/dev/full", O_WRONLY);
	start();
	cr_assert_eq(flood(0, 200000), 200000);
	settle();
	cr_assert_eq(counters().dropped_output, 200000);
	cr_assert_gt(counters().failed_writes, 0);
}

Test(console, output_without_any_sink_is_bounded)
{
	start();
	cr_assert_eq(flood(0, 300000), 300000);
	settle();
	cr_assert_eq(counters().out_bytes, 300000);
	cr_assert_eq(counters().dropped_output, 0);
}

Test(console, flood_faster_than_the_loop_is_refused_at_the_ring)
{
	cfg.log_fd = fileno(tmpfile());
	start();
	for (size_t i = 0; i < CONSOLE_RING_BYTES; i++)
		cr_assert(console_put(con, 'x'));
	cr_assert(!console_put(con, 'x'));
	settle();
	cr_assert_eq(guest.writable, 1);
	cr_assert(console_put(con, 'x'));
}

static void *read_slowly(void *arg)
{
	int *r = arg;

	usleep(20000);
	check_flood(*r, 0, CONSOLE_RING_BYTES + 1000);
	return NULL;
}

Test(console, destroy_waits_for_a_reader_that_reads)
{
	int r = pipe_out();
	pthread_t reader;

	cr_assert_eq(fcntl(r, F_SETFL, 0), 0);
	start();
	cr_assert_geq(flood(0, CONSOLE_RING_BYTES + 1000), 1000);
	pthread_create(&reader, NULL, read_slowly, &r);
	console_destroy(con);
	con = NULL;
	pthread_join(reader, NULL);
}

Test(console, destroy_gives_a_reader_up_that_does_not)
{
	int r = pipe_out();

	start();
	flood(0, SIZE_MAX);
	console_destroy(con);
	con = NULL;
	cr_assert_eq(fcntl(cfg.out_fd, F_GETFD), 0, "not ours to close");
	close(r);
}

/* ---- reopen, and what it allows ---- */

/* stdout as `run` has it: a description of our own. */
static int direct_out(void)
{
	int r = pipe_out();

	cfg.out_fd = console_reopen(cfg.out_fd, O_WRONLY);
	cr_assert_geq(cfg.out_fd, 0);
	return r;
}

Test(console, output_that_waits_for_nothing_is_written_at_once)
{
	int r = direct_out();

	start();
	cr_assert(console_put(con, 'a'));
	cr_assert(console_put(con, 'b'));
	cr_assert_str_eq(read_some(r), "ab");
}

Test(console, direct_output_that_becomes_stuck_is_queued_in_order)
{
	int r = direct_out();
	size_t n, more;

	cfg.log_fd = fileno(tmpfile());
	start();
	n = flood(0, SIZE_MAX);
	cr_assert_geq(n, CONSOLE_RING_BYTES);
	cr_assert_eq(guest.writable, 0);
	check_flood(r, 0, n - CONSOLE_RING_BYTES / 4);
	settle();
	cr_assert_eq(guest.writable, 1);
	more = flood(n, 5000);
	cr_assert_eq(more, 5000);
	check_flood(r, n - CONSOLE_RING_BYTES / 4,
		    more + CONSOLE_RING_BYTES / 4);
	until(log_bytes() == n + more);
	check_log(n + more);
}

Test(console, direct_flood_of_another_thread_arrives_whole)
{
	int r = direct_out();
	pthread_t writer, reader;

	cfg.log_fd = fileno(tmpfile());
	cr_assert_eq(fcntl(r, F_SETFL, 0), 0);
	start();
	pthread_create(&writer, NULL, print_a_megabyte, NULL);
	pthread_create(&reader, NULL, check_a_megabyte, &r);
	cr_assert_eq(loop_run(&loop), 0);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	until(counters().out_bytes == 1 << 20);
	console_destroy(con);
	con = NULL;
	check_log(1 << 20);
}

Test(console, closed_reader_of_direct_output_is_survived)
{
	int r = direct_out();

	start();
	print("a");
	close(r);
	cr_assert_eq(flood(0, 300000), 300000);
	settle();
	cr_assert_eq(counters().failed_writes, 1);
}

Test(console, reopened_pipe_is_non_blocking_alone)
{
	int fd[2], mine;

	cr_assert_eq(pipe(fd), 0);
	mine = console_reopen(fd[1], O_WRONLY);
	cr_assert_geq(mine, 0);
	cr_assert_neq(fcntl(mine, F_GETFL) & O_NONBLOCK, 0);
	cr_assert_neq(fcntl(mine, F_GETFD) & FD_CLOEXEC, 0);
	cr_assert_eq(fcntl(fd[1], F_GETFL) & O_NONBLOCK, 0);
	cfg.out_fd = mine;
	nonblocking(fd[0]);
	start();
	cr_assert_geq(flood(0, SIZE_MAX), CONSOLE_RING_BYTES);
	check_flood(fd[0], 0, CONSOLE_RING_BYTES);
}

Test(console, reopen_of_file_or_socket_is_refused)
{
	int fd[2];

	cr_assert_eq(console_reopen(fileno(tmpfile()), O_WRONLY), -EINVAL);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	cr_assert_eq(console_reopen(fd[0], O_WRONLY), -EINVAL);
	cr_assert_eq(console_reopen(-1, O_WRONLY), -EBADF);
}

/* ---- the log ---- */

Test(console, log_has_what_the_guest_printed)
{
	FILE *f = tmpfile();
	char buf[16] = "";

	cfg.log_fd = fileno(f);
	start();
	print("logged");
	until(log_bytes() == 6);
	cr_assert_eq(pread(cfg.log_fd, buf, 15, 0), 6);
	cr_assert_str_eq(buf, "logged");
}

Test(console, log_stays_within_its_limit_and_has_the_newest)
{
	size_t n = 3 * CONSOLE_LOG_BYTES + 12345;

	cfg.log_fd = fileno(tmpfile());
	start();
	cr_assert_eq(flood(0, n), n);
	console_destroy(con);
	con = NULL;
	cr_assert_leq(log_bytes(), CONSOLE_LOG_BYTES);
	cr_assert_geq(log_bytes(), CONSOLE_LOG_BYTES / 4);
	check_log(n);
}

Test(console, log_goes_on_while_stdout_is_stuck)
{
	int r = pipe_out();
	size_t n;

	cfg.log_fd = fileno(tmpfile());
	start();
	n = flood(0, SIZE_MAX);
	until(log_bytes() == n);
	close(r);
}

Test(console, log_that_cannot_be_written_is_counted)
{
	cfg.log_fd = open("/proc/self/exe", O_RDONLY);
	start();
	print("x");
	until(counters().failed_writes == 1);
}

/* ---- stdin ---- */

static int pipe_in(void)
{
	int fd[2];

	cr_assert_eq(pipe(fd), 0);
	nonblocking(fd[1]);
	cfg.in_fd = fd[0];
	return fd[1];
}

static void feed(int fd, const char *s)
{
	cr_assert_eq(write(fd, s, strlen(s)), (ssize_t)strlen(s));
	settle();
}

Test(console, input_when_pipe_reaches_the_guest)
{
	int w = pipe_in();

	start();
	feed(w, "~.ls\n"); /* no terminal: no escape */
	cr_assert_eq(guest.ngot, 5);
	cr_assert_arr_eq(guest.got, "~.ls\n", 5);
	cr_assert_eq(counters().in_bytes, 5);
}

Test(console, input_end_leaves_the_guest_running)
{
	int w = pipe_in(), r = pipe_out();

	start();
	feed(w, "bye");
	close(w);
	settle();
	print("still here");
	cr_assert_eq(guest.ngot, 3);
	cr_assert_str_eq(read_some(r), "still here");
}

Test(console, input_waits_until_the_guest_makes_room)
{
	int w = pipe_in();

	guest.room = 2;
	start();
	feed(w, "abcd");
	cr_assert_eq(guest.ngot, 2);
	guest.room = 1;
	console_pull(con);
	settle();
	cr_assert_eq(guest.ngot, 3);
	guest.room = 100;
	console_pull(con);
	settle();
	cr_assert_arr_eq(guest.got, "abcd", 4);
}

Test(console, piped_input_is_held_back_not_lost)
{
	int w = pipe_in();
	char line[1000];
	size_t sent = 0;

	for (size_t i = 0; i < sizeof(line); i++)
		line[i] = (char)('a' + i % 26);
	guest.room = 0;
	start();
	/* Until the pipe and our ring are full. */
	for (ssize_t n;
	     (n = write(w, line + sent % 1000, 1000 - sent % 1000)) > 0 &&
	     sent < 60000;) {
		sent += (size_t)n;
		settle();
	}
	close(w);
	while (guest.ngot < sent) {
		size_t before = guest.ngot;

		guest.room = 16;
		console_pull(con);
		for (int i = 0; i < 4; i++)
			loop_step(&loop, 0);
		cr_assert_gt(guest.ngot, before);
	}
	for (size_t i = 0; i < sent; i++)
		cr_assert_eq(guest.got[i], line[i % 1000]);
	cr_assert_eq(counters().dropped_input, 0);
}

Test(console, input_when_file_is_read_whole)
{
	FILE *f = tmpfile();

	for (int i = 0; i < 20000; i++)
		fputc('a' + i % 26, f);
	rewind(f);
	cfg.in_fd = fileno(f);
	guest.room = 0;
	start();
	while (guest.ngot < 20000) {
		guest.room = 16;
		console_pull(con);
		for (int i = 0; i < 4; i++)
			loop_step(&loop, 0);
	}
	for (int i = 0; i < 20000; i++)
		cr_assert_eq(guest.got[i], 'a' + i % 26);
	guest.room = 16;
	settle();
	cr_assert_eq(guest.ngot, 20000);
}

Test(console, input_when_file_is_read_on_after_the_guest_took_all_at_once)
{
	FILE *f = tmpfile();

	for (int i = 0; i < 20000; i++)
		fputc('a' + i % 26, f);
	rewind(f);
	cfg.in_fd = fileno(f);
	guest.room = 0;
	start();
	settle();
	guest.room = 20000;
	console_pull(con);
	settle();
	cr_assert_eq(guest.ngot, 20000);
}

Test(console, input_when_dev_null_ends_at_once)
{
	cfg.in_fd = open("/dev/null", O_RDONLY);
	start();
	settle();
	cr_assert_eq(guest.ngot, 0);
}

/* ---- the terminal ---- */

static unsigned escapes;

static void escaped(void *ctx)
{
	escapes++;
}

/* Both sides as `run` has them: the shared description, two numbers. */
static int open_terminal(void)
{
	int m, s;

	cr_assert_eq(openpty(&m, &s, NULL, NULL, NULL), 0);
	nonblocking(m);
	cfg.in_fd = s;
	cfg.out_fd = dup(s);
	cfg.terminal = true;
	cfg.escape = escaped;
	return m;
}

Test(console, terminal_is_raw_while_it_lasts)
{
	struct termios before, during, after;
	int m = open_terminal();

	cr_assert_eq(tcgetattr(cfg.in_fd, &before), 0);
	start();
	cr_assert_eq(tcgetattr(cfg.in_fd, &during), 0);
	cr_assert_eq(during.c_lflag & (ICANON | ECHO | ISIG), 0);
	console_destroy(con);
	con = NULL;
	cr_assert_eq(tcgetattr(cfg.in_fd, &after), 0);
	cr_assert_eq(after.c_lflag, before.c_lflag);
	cr_assert_eq(after.c_iflag, before.c_iflag);
	close(m);
}

Test(console, create_that_fails_leaves_the_terminal_alone)
{
	struct termios before, after;
	int fd[2];

	open_terminal();
	cr_assert_eq(tcgetattr(cfg.in_fd, &before), 0);
	cr_assert_eq(pipe(fd), 0);
	cfg.log_fd = fd[1];
	cr_assert_eq(console_create(&con, &loop, &cfg), -EINVAL);
	cr_assert_null(con);
	cr_assert_eq(tcgetattr(cfg.in_fd, &after), 0);
	cr_assert_eq(after.c_lflag, before.c_lflag);
}

Test(console, terminal_passes_keys_and_output)
{
	int m = open_terminal();

	start();
	feed(m, "\003ls\r");
	until(guest.ngot == 4);
	cr_assert_arr_eq(guest.got, "\003ls\r", 4);
	print("out");
	expect_from(m, "out");
}

Test(console, escape_is_told_and_not_sent)
{
	int m = open_terminal();

	start();
	feed(m, "a~.\r");
	until(guest.ngot == 4);
	cr_assert_eq(escapes, 0);
	feed(m, "~");
	feed(m, ".");
	until(escapes == 1);
	cr_assert_eq(guest.ngot, 4);
	cr_assert_arr_eq(guest.got, "a~.\r", 4);
}

Test(console, doubled_tilde_sends_one)
{
	int m = open_terminal();

	start();
	feed(m, "~~.");
	until(guest.ngot == 2);
	cr_assert_arr_eq(guest.got, "~.", 2);
	cr_assert_eq(escapes, 0);
}

Test(console, help_goes_to_the_terminal_only)
{
	int m = open_terminal();

	start();
	feed(m, "~?");
	expect_from(m, TERMINAL_HELP_TEXT("end the VM"));
	cr_assert_eq(guest.ngot, 0);
}

Test(console, escape_works_while_the_guest_takes_nothing)
{
	int m = open_terminal();
	char line[100];
	uint64_t sent = 0;

	memset(line, 'x', sizeof(line));
	line[99] = 0;
	guest.room = 0;
	start();
	while (counters().dropped_input < 1000) {
		feed(m, line);
		sent += 99;
	}
	until(counters().dropped_input == sent - CONSOLE_INPUT_BYTES);
	feed(m, "\r~.");
	until(escapes == 1);
}

Test(console, terminal_that_does_not_read_holds_the_guest_up_not_us)
{
	int m = open_terminal();
	size_t n;

	start();
	n = flood(0, SIZE_MAX);
	cr_assert_geq(n, CONSOLE_RING_BYTES);
	feed(m, "~."); /* the loop is alive */
	until(escapes == 1);
	check_flood(m, 0, n);
}

Test(console, terminal_that_hangs_up_leaves_the_guest_running)
{
	int m = open_terminal();

	start();
	close(m);
	cr_assert_eq(flood(0, 100000), 100000);
	settle();
	cr_assert_eq(counters().failed_writes, 1);
}

/* ---- clients ---- */

static struct sockaddr_un address;
static socklen_t address_len;

static void open_listener(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	address.sun_family = AF_UNIX;
	address_len = sizeof(address.sun_family); /* the kernel names it */
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, address_len), 0);
	cr_assert_eq(listen(fd, 64), 0);
	address_len = sizeof(address);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &address_len),
		     0);
	cfg.listen_fd[0] = fd;
}

static int connect_client(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&address, address_len), 0);
	nonblocking(fd);
	settle();
	return fd;
}

Test(console, clients_see_output_from_when_they_came)
{
	int a, b;

	open_listener();
	start();
	print("early ");
	a = connect_client();
	print("one ");
	b = connect_client();
	print("two");
	cr_assert_str_eq(read_some(a), "one two");
	cr_assert_str_eq(read_some(b), "two");
}

Test(console, client_input_reaches_the_guest)
{
	int a;

	open_listener();
	start();
	a = connect_client();
	feed(a, "~.id\n");
	cr_assert_eq(guest.ngot, 5);
	cr_assert_arr_eq(guest.got, "~.id\n", 5);
}

Test(console, client_that_does_not_read_loses_bytes_and_holds_nobody_up)
{
	struct console_counters n;
	size_t got = 0;
	char buf[4096];
	ssize_t r;
	int a;

	open_listener();
	start();
	a = connect_client();
	cr_assert_eq(flood(0, 2000000), 2000000);
	settle();
	n = counters();
	cr_assert_gt(n.dropped_clients, 0);
	while ((r = read(a, buf, sizeof(buf))) > 0) {
		got += (size_t)r;
		settle();
	}
	cr_assert_eq(got + n.dropped_clients, 2000000);
	print("fresh");
	cr_assert_str_eq(read_some(a), "fresh");
}

Test(console, one_client_too_many_is_refused_until_another_leaves)
{
	int a[CONSOLE_MAX_CLIENTS], b;

	open_listener();
	start();
	for (int i = 0; i < CONSOLE_MAX_CLIENTS; i++)
		a[i] = connect_client();
	b = connect_client();
	cr_assert_eq(counters().refused_clients, 1);
	cr_assert_eq(read(b, &b, 1), 0);
	close(a[3]);
	settle();
	b = connect_client();
	print("hi");
	cr_assert_str_eq(read_some(b), "hi");
	cr_assert_str_eq(read_some(a[4]), "hi");
	cr_assert_eq(counters().refused_clients, 1);
}

Test(console, client_that_sends_and_leaves_is_heard)
{
	int a;

	open_listener();
	guest.room = 0;
	start();
	a = connect_client();
	cr_assert_eq(write(a, "reboot\n", 7), 7);
	close(a);
	settle();
	guest.room = 100;
	console_pull(con);
	settle();
	cr_assert_eq(guest.ngot, 7);
}

Test(console, client_that_only_listens_further_still_sees_output)
{
	int a;

	open_listener();
	start();
	a = connect_client();
	feed(a, "x");
	cr_assert_eq(shutdown(a, SHUT_WR), 0);
	settle();
	print("answer");
	cr_assert_str_eq(read_some(a), "answer");
}

Test(console, client_input_is_held_back_not_lost)
{
	char line[1000];
	size_t sent = 0;
	ssize_t n;
	int a;

	memset(line, 'y', sizeof(line));
	open_listener();
	guest.room = 0;
	start();
	a = connect_client();
	while (sent < 50000 && (n = write(a, line, sizeof(line))) > 0) {
		sent += (size_t)n;
		settle();
	}
	close(a);
	settle();
	guest.room = sizeof(guest.got);
	console_pull(con);
	settle();
	cr_assert_eq(guest.ngot, sent);
	cr_assert_eq(counters().dropped_input, 0);
}

Test(console, dead_clients_with_unread_input_do_not_block_new_ones)
{
	char line[1000];
	int a;

	memset(line, 'z', sizeof(line));
	open_listener();
	guest.room = 0;
	start();
	for (int i = 0; i < CONSOLE_MAX_CLIENTS; i++) {
		a = connect_client();
		for (int j = 0; j < 10; j++)
			cr_assert_eq(write(a, line, sizeof(line)), 1000);
		close(a);
		settle();
	}
	a = connect_client();
	print("room");
	cr_assert_str_eq(read_some(a), "room");
	cr_assert_eq(counters().refused_clients, 0);
}

Test(console, client_waits_while_there_are_no_fds)
{
	struct rlimit old, none;
	struct pollfd p = { .events = POLLIN };

	open_listener();
	start();
	p.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(p.fd >= 0);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ (rlim_t)p.fd + 1, old.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	cr_assert_eq(connect(p.fd, (struct sockaddr *)&address, address_len),
		     0);
	settle();
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	do {
		loop_step(&loop, 10);
		print("x");
	} while (poll(&p, 1, 0) == 0);
	cr_assert_eq(read_some(p.fd)[0], 'x');
}

static void connect_as_nobody(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (setgid(65534) || setuid(65534))
		_exit(2);
	if (connect(fd, (struct sockaddr *)&address, address_len))
		_exit(3);
	_exit(0);
}

Test(console, client_of_another_user_is_refused)
{
	int status;
	pid_t child;

	if (geteuid() != 0)
		cr_skip_test("becoming another user needs root");
	open_listener();
	start();
	child = fork();
	if (child == 0)
		connect_as_nobody();
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
	settle();
	cr_assert_eq(counters().refused_clients, 1);
}

Test(console, destroy_closes_clients_not_the_listener)
{
	int a;

	open_listener();
	start();
	a = connect_client();
	console_destroy(con);
	con = NULL;
	cr_assert_eq(read(a, &a, 1), 0);
	cr_assert_geq(fcntl(cfg.listen_fd[0], F_GETFD), 0);
}
