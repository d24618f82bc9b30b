/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock: messages to a program of the host that sends them back. A
 * connection that the host has reset, which a restore may do, is made anew, and
 * its message sent again: in the end each has been answered, byte for byte.
 */
#include "exact.h"
#include "vsock.h"

#define MESSAGES 200
#define BYTES	 96

static uint64_t resets GUEST_VOLATILE;

static uint8_t byte(uint64_t message, unsigned i)
{
	return (uint8_t)fold(message, i);
}

/* The answer so far is right; how much of it there is. */
static unsigned take(struct vsock_conn *c, uint64_t message, unsigned got)
{
	const uint8_t *p;
	uint32_t len;

	while ((p = vsock_peek(c, &len)) && len) {
		for (uint32_t i = 0; i < len; i++)
			expect("byte", p[i], byte(message, got + i));
		vsock_skip(c, len);
		got += len;
	}
	return got;
}

/* True when it was answered; false: the connection has gone. */
static bool exchange(struct vsock_conn *c, uint64_t message)
{
	uint8_t data[BYTES];
	unsigned sent = 0, got = 0;

	for (unsigned i = 0; i < BYTES; i++)
		data[i] = byte(message, i);
	while (got < BYTES) {
		if (c->phase == VSOCK_GONE)
			return false;
		if (c->phase == VSOCK_CONNECTED && sent < BYTES)
			sent += vsock_write(c, data + sent, BYTES - sent);
		mark(message << 8 | got);
		got = take(c, message, got);
		if (got < BYTES)
			vsock_wait();
	}
	return true;
}

static struct vsock_conn *connect(void)
{
	struct vsock_conn *c;

	while (!(c = vsock_connect(7)))
		vsock_wait();
	return c;
}

int guest_main(void)
{
	struct vsock_conn *c;
	const char *why;

	lapic_init();
	why = vsock_open();
	if (why) {
		print("vsock: %s\n", why);
		return 1;
	}
	c = connect();
	for (uint64_t m = 0; m < MESSAGES;) {
		if (exchange(c, m)) {
			m++;
			continue;
		}
		resets++;
		vsock_put(c);
		c = connect();
	}
	vsock_close(c);
	while (c->phase != VSOCK_GONE)
		vsock_wait();
	return exact_end("vsock", MESSAGES);
}
