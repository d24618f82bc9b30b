/* SPDX-License-Identifier: Apache-2.0 */
/* The port for the guest agent: a driver here, clients of its socket there. */
#include "console_port.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "driver.h"

enum { RECEIVE, TRANSMIT, CONTROL_IN, CONTROL_OUT };
enum { DEVICE_READY, DEVICE_ADD, PORT_READY_MSG = 3, PORT_OPEN = 6, PORT_NAME };
#define F_MULTIPORT (UINT64_C(1) << 1)
#define NAME	    "org.qemu.guest_agent.0"
#define OUT	    DRIVER_DATA		   /* what the driver sends */
#define IN	    (DRIVER_DATA + MIB(2)) /* where it receives */
#define MESSAGES    (DRIVER_DATA + MIB(3))
#define MESSAGE	    64 /* bytes of room for each */

static struct loop loop;
static struct driver d;
static struct console_port *p;
static struct sockaddr_un address;
static socklen_t address_len = sizeof(address);
static unsigned heard; /* messages looked at */

static int listening(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sun_family = AF_UNIX;
	/* The kernel chooses an abstract name. */
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)),
		     0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &address_len),
		     0);
	cr_assert_eq(listen(fd, 4), 0);
	return fd;
}

static void init(void)
{
	struct console_port_config c = { .loop = &loop, .port = NAME };

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(loop_init(&loop), 0);
	driver_init(&d, &c.virtio);
	c.listen_fd = listening();
	p = console_port_create(&c);
	cr_assert_not_null(p);
	driver_plug(&d, &p->virtio);
}

static void fini(void)
{
	driver_fini(&d);
	loop_fini(&loop);
}

TestSuite(port, .init = init, .fini = fini);

/* What is ready, and what comes of it. */
static void settle(void)
{
	for (unsigned i = 0; i < 5; i++)
		cr_assert_eq(loop_step(&loop, 0), 0);
}

static int client(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&address, address_len), 0);
	settle();
	return fd;
}

/* ---- the driver ---- */

static void say_raw(const void *message, uint32_t len)
{
	driver_write(&d, OUT, message, len);
	driver_send(&d, CONTROL_OUT, OUT, len, false);
}

static void say(uint16_t event, uint16_t value)
{
	const uint16_t message[4] = { 0, 0, event, value };

	say_raw(message, sizeof(message));
}

/* Room for messages, as many as the queue has. */
static void listen_to_messages(void)
{
	heard = 0;
	for (unsigned i = 0; i < DRIVER_SIZE; i++) {
		driver_desc(&d, CONTROL_IN, i, MESSAGES + i * MESSAGE, MESSAGE,
			    VRING_DESC_WRITE, 0);
		driver_offer(&d, CONTROL_IN, (uint16_t)i);
	}
	driver_kick(&d, CONTROL_IN);
}

static void start(void)
{
	driver_start(&d, F_MULTIPORT);
	listen_to_messages();
	say(DEVICE_READY, 1);
	say(PORT_READY_MSG, 1);
}

/* The next message is this one. */
static void expect_heard(uint16_t event, uint16_t value, const char *text)
{
	uint16_t message[4];
	char rest[MESSAGE] = "";
	uint32_t len;

	cr_assert_gt(driver_used(&d, CONTROL_IN), heard, "event %u", event);
	driver_read(&d, MESSAGES + heard * MESSAGE, message, sizeof(message));
	len = driver_used_len(&d, CONTROL_IN, heard++);
	cr_assert_eq(message[2], event, "event %u, not %u", message[2], event);
	cr_assert_eq(message[3], value);
	cr_assert_eq(len, sizeof(message) + strlen(text));
	driver_read(&d, MESSAGES + (heard - 1) * MESSAGE + 8, rest,
		    strlen(text));
	cr_assert_str_eq(rest, text);
}

static void expect_heard_no_more(void)
{
	cr_assert_eq(driver_used(&d, CONTROL_IN), heard);
}

/* The port is made and named, and a program has opened it. */
static void start_open(void)
{
	start();
	expect_heard(DEVICE_ADD, 0, "");
	expect_heard(PORT_NAME, 1, NAME);
	say(PORT_OPEN, 1);
}

static void send_text(const char *text)
{
	driver_write(&d, OUT, text, strlen(text));
	driver_send(&d, TRANSMIT, OUT, (uint32_t)strlen(text), false);
}

static void offer_room(uint32_t len)
{
	driver_send(&d, RECEIVE, IN, len, true);
}

static void expect_read(int fd, const char *text)
{
	char got[256] = "";
	ssize_t n = read(fd, got, sizeof(got) - 1);

	cr_assert_eq(n, (ssize_t)strlen(text), "%zd bytes: %s", n, got);
	cr_assert_str_eq(got, text);
}

static void expect_received(unsigned i, const char *text)
{
	char got[256] = "";

	cr_assert_gt(driver_used(&d, RECEIVE), i);
	cr_assert_eq(driver_used_len(&d, RECEIVE, i), strlen(text));
	driver_read(&d, IN, got, strlen(text));
	cr_assert_str_eq(got, text);
}

/* ---- the port is found ---- */

Test(port, driver_when_ready_hears_of_the_port_and_its_name)
{
	start();
	expect_heard(DEVICE_ADD, 0, "");
	expect_heard(PORT_NAME, 1, NAME);
	expect_heard_no_more();
	cr_assert_eq(driver_get(&d, VIRTIO_CONFIG + 4), 1);
}

Test(port, messages_wait_for_room)
{
	driver_start(&d, F_MULTIPORT);
	say(DEVICE_READY, 1);
	cr_assert_eq(p->st.told, PORT_DEVICE_READY);
	listen_to_messages();
	expect_heard(DEVICE_ADD, 0, "");
}

Test(port, room_too_small_for_a_message_is_counted_and_the_next_is_used)
{
	driver_start(&d, F_MULTIPORT);
	driver_send(&d, CONTROL_IN, MESSAGES, 7, true);
	say(DEVICE_READY, 1);
	cr_assert_eq(driver_used_len(&d, CONTROL_IN, 0), 0);
	cr_assert_eq(p->count.refused_messages, 1);
	driver_send(&d, CONTROL_IN, MESSAGES, 8, true);
	cr_assert_eq(driver_used_len(&d, CONTROL_IN, 1), 8);
}

Test(port, control_messages_out_of_order_are_refused_and_counted)
{
	const uint16_t other_port[] = { 1, 0, PORT_READY_MSG, 1 };

	driver_start(&d, F_MULTIPORT);
	listen_to_messages();
	say(PORT_READY_MSG, 1); /* of what? */
	say(DEVICE_READY, 0);
	cr_assert_eq(p->st.told, 0);
	say(DEVICE_READY, 1);
	say(DEVICE_READY, 1);
	say(PORT_OPEN, 1);
	say_raw(other_port, sizeof(other_port));
	say_raw(other_port, 7);
	say(PORT_READY_MSG, 0);
	say(DEVICE_ADD, 0);
	say(99, 1);
	cr_assert_eq(p->st.told, PORT_DEVICE_READY | PORT_ADDED);
	cr_assert_eq(p->count.refused_messages, 9);
	cr_assert_not(driver_broken(&d));
}

/* ---- clients ---- */

Test(port, client_when_it_comes_and_leaves_is_told)
{
	int fd;

	start_open();
	fd = client();
	expect_heard(PORT_OPEN, 1, "");
	close(fd);
	settle();
	expect_heard(PORT_OPEN, 0, "");
	expect_heard_no_more();
}

Test(port, client_that_was_there_first_is_told_when_the_port_is_made)
{
	client();
	start_open();
	expect_heard(PORT_OPEN, 1, "");
}

Test(port, bytes_go_both_ways)
{
	int fd;

	start_open();
	fd = client();
	send_text("from the guest");
	expect_read(fd, "from the guest");
	offer_room(100);
	cr_assert_eq(write(fd, "from the host", 13), 13);
	settle();
	expect_received(0, "from the host");
	cr_assert_eq(p->count.in_bytes, 13);
	cr_assert_eq(p->count.out_bytes, 14);
}

/* The guest's buffers decide: what does not fit stays in the socket. */
Test(port, input_when_the_guest_has_no_room_waits_and_is_not_lost)
{
	int fd;

	start_open();
	fd = client();
	cr_assert_eq(write(fd, "abcdef", 6), 6);
	settle();
	offer_room(4);
	expect_received(0, "abcd");
	settle();
	offer_room(4);
	settle();
	expect_received(1, "ef");
}

Test(port, input_before_a_program_opens_the_port_waits)
{
	int fd = client();

	start();
	offer_room(100);
	cr_assert_eq(write(fd, "ping", 4), 4);
	settle();
	cr_assert_eq(driver_used(&d, RECEIVE), 0);
	say(PORT_OPEN, 1);
	settle();
	expect_received(0, "ping");
}

Test(port, input_of_a_client_that_left_is_delivered_first)
{
	int fd;

	start_open();
	fd = client();
	cr_assert_eq(write(fd, "shutdown", 8), 8);
	close(fd);
	settle();
	offer_room(100);
	settle();
	expect_received(0, "shutdown");
	expect_heard(PORT_OPEN, 1, "");
	expect_heard(PORT_OPEN, 0, "");
	cr_assert_lt(p->client.fd, 0);
}

Test(port, half_closed_client_gets_its_answer)
{
	int fd;

	start_open();
	fd = client();
	cr_assert_eq(write(fd, "ask", 3), 3);
	shutdown(fd, SHUT_WR);
	offer_room(100);
	settle();
	expect_received(0, "ask");
	settle();
	send_text("answer");
	expect_read(fd, "answer");
	close(fd);
	settle();
	cr_assert_lt(p->client.fd, 0);
}

/* Chains wait in the guest's queue while the client is slow. */
Test(port, output_when_the_client_is_slow_waits_and_is_not_lost)
{
	static uint8_t want[MIB(1)], got[MIB(1)];
	const uint32_t part = MIB(1) / 8;
	size_t n = 0;
	int fd;

	start_open();
	fd = client();
	for (size_t i = 0; i < sizeof(want); i++)
		want[i] = (uint8_t)(i * 7 ^ i >> 9);
	driver_write(&d, OUT, want, sizeof(want));
	for (unsigned i = 0; i < 4; i++) {
		driver_desc(&d, TRANSMIT, 2 * i, OUT + 2 * i * part, part,
			    VRING_DESC_NEXT, (uint16_t)(2 * i + 1));
		driver_desc(&d, TRANSMIT, 2 * i + 1, OUT + (2 * i + 1) * part,
			    part, 0, 0);
		driver_offer(&d, TRANSMIT, (uint16_t)(2 * i));
	}
	driver_kick(&d, TRANSMIT);
	cr_assert_lt(driver_used(&d, TRANSMIT), 4);
	cr_assert_eq(p->st.virtio.last_avail[TRANSMIT],
		     p->st.virtio.next_used[TRANSMIT]);
	while (n < sizeof(got)) {
		ssize_t r = read(fd, got + n, sizeof(got) - n);

		cr_assert(r > 0 || errno == EAGAIN);
		n += (size_t)MAX(r, (ssize_t)0);
		settle();
	}
	cr_assert_arr_eq(got, want, sizeof(want));
	cr_assert_eq(driver_used(&d, TRANSMIT), 4);
	cr_assert_eq(p->count.dropped_bytes, 0);
}

/* The rest of a chain that the last client did not take is no beginning for
 * the next one. */
Test(port, output_when_the_client_leaves_half_way_is_dropped)
{
	int fd;

	start_open();
	fd = client();
	driver_send(&d, TRANSMIT, OUT, MIB(1), false);
	cr_assert_gt(p->st.sent, 0);
	close(fd);
	settle();
	cr_assert_eq(driver_used(&d, TRANSMIT), 1);
	cr_assert_eq(p->st.sent, 0);
	cr_assert_eq(p->count.out_bytes + p->count.dropped_bytes, MIB(1));
	fd = client();
	send_text("hello");
	expect_read(fd, "hello");
}

Test(port, output_when_nobody_is_there_is_dropped_and_counted)
{
	start_open();
	send_text("nobody");
	cr_assert_eq(driver_used(&d, TRANSMIT), 1);
	cr_assert_eq(p->count.dropped_bytes, 6);
}

Test(port, second_client_waits_until_the_first_has_left)
{
	int first, second;

	start_open();
	first = client();
	second = client();
	send_text("one");
	expect_read(first, "one");
	close(first);
	settle();
	expect_heard(PORT_OPEN, 1, "");
	expect_heard(PORT_OPEN, 0, "");
	expect_heard(PORT_OPEN, 1, "");
	send_text("two");
	expect_read(second, "two");
	cr_assert_eq(p->count.clients, 2);
}

/* The guest has not heard that the last one left: it hears that first, and
 * what it still sends is not for the new one. */
Test(port, new_client_is_told_only_after_the_last_one_is_taken_back)
{
	int fd;

	start_open();
	fd = client();
	expect_heard(PORT_OPEN, 1, "");
	cr_assert_eq(virtio_quiesce(&p->virtio.dev), 0);
	close(fd);
	settle();
	virtio_resume(&p->virtio.dev);
	settle();
	fd = client();
	expect_heard(PORT_OPEN, 0, "");
	expect_heard(PORT_OPEN, 1, "");
	expect_heard_no_more();
}

/* The same when it is the driver that gives no room for the messages. */
Test(port, new_client_before_the_last_is_taken_back_gets_nothing_of_its)
{
	int fd;

	driver_start(&d, F_MULTIPORT);
	heard = 0;
	for (unsigned i = 0; i < 5; i++)
		driver_desc(&d, CONTROL_IN, i, MESSAGES + i * MESSAGE, MESSAGE,
			    VRING_DESC_WRITE, 0);
	for (unsigned i = 0; i < 3; i++)
		driver_offer(&d, CONTROL_IN, (uint16_t)i);
	say(DEVICE_READY, 1);
	say(PORT_READY_MSG, 1);
	say(PORT_OPEN, 1);
	close(client());
	settle();
	fd = client();
	cr_assert_eq(p->count.clients, 2);
	send_text("for the last one");
	cr_assert_lt(read(fd, &fd, 1), 0);
	driver_offer(&d, CONTROL_IN, 3);
	driver_offer(&d, CONTROL_IN, 4);
	driver_kick(&d, CONTROL_IN);
	heard = 2;
	expect_heard(PORT_OPEN, 1, "");
	expect_heard(PORT_OPEN, 0, "");
	expect_heard(PORT_OPEN, 1, "");
	send_text("for this one");
	expect_read(fd, "for this one");
}

/* A client that came while the machine was being restored. */
Test(port, client_at_a_restore_is_told_after_the_one_of_the_snapshot)
{
	start_open();
	cr_assert_eq(virtio_quiesce(&p->virtio.dev), 0);
	client();
	p->st.told |= PORT_HOST_OPEN;
	cr_assert_eq(virtio_restored(&p->virtio.dev), 0);
	virtio_resume(&p->virtio.dev);
	expect_heard(PORT_OPEN, 0, "");
	expect_heard(PORT_OPEN, 1, "");
}

Test(port, many_clients_that_come_and_go_leave_nothing)
{
	start_open();
	for (unsigned i = 0; i < 300; i++) {
		int fd = client();

		close(fd);
		settle();
	}
	cr_assert_lt(p->client.fd, 0);
	cr_assert_eq(p->count.clients, 300);
}

/* ---- a hostile driver ---- */

Test(port, chain_of_more_than_a_mib_breaks_the_queue)
{
	start_open();
	driver_desc(&d, TRANSMIT, 0, OUT, MIB(1), VRING_DESC_NEXT, 1);
	driver_desc(&d, TRANSMIT, 1, OUT, 1, 0, 0);
	driver_offer(&d, TRANSMIT, 0);
	driver_kick(&d, TRANSMIT);
	cr_assert(driver_broken(&d));
	settle();
}

Test(port, buffer_to_receive_that_cannot_be_filled_breaks_the_queue)
{
	int fd;

	start_open();
	fd = client();
	cr_assert_eq(write(fd, "x", 1), 1);
	driver_send(&d, RECEIVE, IN, 10, false);
	settle();
	cr_assert(driver_broken(&d));
	close(fd);
	settle();
}

Test(port, empty_buffers_are_legal_anywhere)
{
	int fd;

	start_open();
	fd = client();
	driver_send(&d, TRANSMIT, OUT, 0, false);
	driver_send(&d, CONTROL_OUT, OUT, 0, false);
	cr_assert_eq(write(fd, "x", 1), 1);
	settle();
	offer_room(0);
	settle();
	cr_assert_eq(driver_used_len(&d, RECEIVE, 0), 0);
	offer_room(1);
	settle();
	expect_received(1, "x");
	cr_assert_not(driver_broken(&d));
}

/* More chains than a round has, with nobody there: the loop goes on. */
Test(port, chains_without_end_are_taken_in_rounds)
{
	start_open();
	driver_desc(&d, TRANSMIT, 0, OUT, 1, 0, 0);
	for (unsigned i = 0; i < DRIVER_SIZE; i++)
		driver_offer(&d, TRANSMIT, 0);
	driver_kick(&d, TRANSMIT);
	settle();
	cr_assert_eq(driver_used(&d, TRANSMIT), DRIVER_SIZE);
}

Test(port, without_multiport_bytes_are_dropped)
{
	int fd = client();

	driver_start(&d, 0);
	send_text("console output");
	cr_assert_eq(driver_used(&d, TRANSMIT), 1);
	cr_assert_eq(p->count.dropped_bytes, 14);
	cr_assert_lt(read(fd, &fd, 1), 0);
}

/* ---- pause, reset, restore ---- */

Test(port, while_quiet_nothing_moves_and_then_all_does)
{
	int fd;

	start_open();
	fd = client();
	expect_heard(PORT_OPEN, 1, "");
	cr_assert_eq(virtio_quiesce(&p->virtio.dev), 0);
	cr_assert_eq(write(fd, "in", 2), 2);
	offer_room(10);
	send_text("out");
	settle();
	cr_assert_eq(driver_used(&d, RECEIVE), 0);
	cr_assert_eq(driver_used(&d, TRANSMIT), 0);
	virtio_resume(&p->virtio.dev);
	settle();
	expect_received(0, "in");
	expect_read(fd, "out");
}

Test(port, client_that_waits_through_a_reset_meets_the_next_driver)
{
	int fd;

	start_open();
	fd = client();
	driver_set(&d, VIRTIO_STATUS, 0);
	settle();
	cr_assert_eq(p->st.told, 0);
	start_open();
	expect_heard(PORT_OPEN, 1, "");
	send_text("again");
	expect_read(fd, "again");
}

/* Its client is not part of a snapshot: the guest hears that it has left. */
Test(port, restored_open_port_is_told_that_nobody_is_there)
{
	start_open();
	p->st.told |= PORT_HOST_OPEN;
	cr_assert_eq(virtio_quiesce(&p->virtio.dev), 0);
	cr_assert_eq(virtio_restored(&p->virtio.dev), 0);
	virtio_resume(&p->virtio.dev);
	expect_heard(PORT_OPEN, 0, "");
}

Test(port, restored_state_that_no_driver_could_make_is_refused)
{
	static const struct console_port_state bad[] = {
		{ .told = PORT_ADDED },
		{ .told = PORT_DEVICE_READY | PORT_READY },
		{ .told = PORT_GUEST_OPEN },
		{ .told = 7 | PORT_HOST_OPEN },
		{ .told = 64 },
		{ .sent = CONSOLE_PORT_CHAIN_BYTES + 1 },
	};

	start_open();
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		p->st.told = bad[i].told;
		p->st.sent = bad[i].sent;
		cr_assert_eq(virtio_restored(&p->virtio.dev), -EINVAL, "%u", i);
		cr_assert_eq(p->st.told, 0);
	}
}
