/* SPDX-License-Identifier: Apache-2.0 */
/* The vsock command: an echo for programs of the host, and a client. */
#include "vsock.h"

#include "demo.h"

#define CHUNK 2048

static uint8_t chunk[CHUNK];

/* CRC-32 as zlib's and gzip's, bit by bit. */
static uint32_t crc(uint32_t sum, const uint8_t *data, uint32_t len)
{
	sum = ~sum;
	for (uint32_t i = 0; i < len; i++) {
		sum ^= data[i];
		for (unsigned bit = 0; bit < 8; bit++)
			sum = sum >> 1 ^ (sum & 1 ? 0xedb88320 : 0);
	}
	return ~sum;
}

/* Sends back what it can; true when the connection is over. */
static bool echo_step(struct vsock_conn *c, uint64_t *bytes)
{
	uint32_t len, n;

	do {
		const uint8_t *data = vsock_peek(c, &len);

		n = vsock_write(c, data, len);
		vsock_skip(c, n);
		*bytes += n;
	} while (n);
	if (c->phase == VSOCK_GONE) {
		vsock_put(c);
		return true;
	}
	if (c->host_deaf || (c->host_done && c->got == c->fwd))
		vsock_close(c);
	return false;
}

/* Echoes until so many connections have ended. */
static int echo(uint32_t port, uint64_t wanted)
{
	static struct vsock_conn *c[VSOCK_CONNS];
	uint64_t ended = 0, bytes = 0;

	vsock_listen(port);
	print("vsock: CID %lu listens on port %u\n", vsock_cid(), port);
	guest_ready();
	while (ended < wanted) {
		for (unsigned i = 0; i < VSOCK_CONNS; i++) {
			if (!c[i])
				c[i] = vsock_accept();
			if (!c[i] || !echo_step(c[i], &bytes))
				continue;
			c[i] = NULL;
			ended++;
		}
		if (ended < wanted)
			vsock_wait();
	}
	print("vsock: %lu connections, %lu bytes echoed\n", ended, bytes);
	return 0;
}

/* Takes one connection and never reads from it. */
static _Noreturn void deaf(uint32_t port)
{
	vsock_listen(port);
	print("vsock: CID %lu listens on port %u\n", vsock_cid(), port);
	guest_ready();
	while (!vsock_accept())
		vsock_wait();
	print("vsock: connected, and does not listen\n");
	for (;;)
		vsock_wait();
}

static void pattern(uint64_t at)
{
	for (uint32_t i = 0; i < CHUNK; i++)
		chunk[i] = (uint8_t)((at + i) * 2654435761u >> 13);
}

struct transfer {
	uint64_t sent, received;
	uint32_t sum_sent, sum_received;
};

static void transfer_step(struct vsock_conn *c, uint64_t bytes,
			  struct transfer *t)
{
	uint32_t n = 1;

	while (n && t->sent < bytes) {
		uint64_t left = bytes - t->sent;

		pattern(t->sent);
		n = vsock_write(c, chunk,
				left < CHUNK ? (uint32_t)left : CHUNK);
		t->sum_sent = crc(t->sum_sent, chunk, n);
		t->sent += n;
	}
	if (t->sent == bytes)
		vsock_done(c);
	for (;;) {
		const uint8_t *data = vsock_peek(c, &n);

		if (!n)
			break;
		t->sum_received = crc(t->sum_received, data, n);
		t->received += n;
		vsock_skip(c, n);
	}
}

/* Sends so many bytes and takes what comes, until the host has sent all. */
static int client(uint32_t port, uint64_t bytes)
{
	struct vsock_conn *c = vsock_connect(port);
	struct transfer t = { 0 };

	if (!c) {
		print("vsock: too many connections\n");
		return DEMO_FAILED;
	}
	while (c->phase == VSOCK_CONNECTING)
		vsock_wait();
	if (c->phase == VSOCK_GONE) {
		print("vsock: nobody listens on port %u of the host\n", port);
		vsock_put(c);
		return DEMO_FAILED;
	}
	for (;;) {
		transfer_step(c, bytes, &t);
		if (c->host_done && c->got == c->fwd)
			break;
		vsock_wait();
	}
	vsock_close(c);
	while (c->phase != VSOCK_GONE)
		vsock_wait();
	vsock_put(c);
	print("vsock: sent %lu bytes, crc %08x; received %lu bytes, crc %08x\n",
	      t.sent, t.sum_sent, t.received, t.sum_received);
	return t.sent == bytes ? 0 : DEMO_FAILED;
}

static int cmd_vsock(unsigned argc, char **argv)
{
	const char *why;
	uint64_t port, n;

	if (!demo_number(argc, argv, 2, UINT32_MAX - 1, 0, &port) ||
	    !demo_number(argc, argv, 3, UINT64_MAX, 1, &n))
		return DEMO_USAGE;
	why = vsock_open();
	if (why) {
		print("vsock: the device %s\n", why);
		return DEMO_FAILED;
	}
	if (!strcmp(argv[1], "listen"))
		return echo((uint32_t)port, n);
	if (!strcmp(argv[1], "connect"))
		return client((uint32_t)port, n);
	if (!strcmp(argv[1], "deaf"))
		deaf((uint32_t)port);
	return DEMO_USAGE;
}

const struct command vsock_commands[] = {
	{ "vsock",
	  "listen PORT [CONNECTIONS] | connect PORT [BYTES] | deaf PORT",
	  "echo to programs of the host, or send to one", cmd_vsock, 2, 3,
	  true },
	{ NULL, NULL, NULL, NULL, 0, 0, false },
};
