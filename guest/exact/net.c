/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net: numbered frames to a peer that sends each back, several on their
 * way. The link is lossless, so each comes back once and whole.
 */
#include "exact.h"
#include "net.h"

#define FRAMES 96
#define WINDOW 8
#define BYTES  200

static struct net_card card GUEST_VOLATILE;
static struct {
	struct net_header header;
	uint8_t frame[BYTES];
} tx[WINDOW] GUEST_VOLATILE;
static uint64_t echoed;

static uint8_t byte(uint64_t n, unsigned i)
{
	return (uint8_t)fold(n, i);
}

static void send(uint64_t n)
{
	uint8_t *f = tx[n % WINDOW].frame;

	tx[n % WINDOW].header = (struct net_header){ .buffers = 0 };
	memset(f, 0xff, 6);
	memcpy(f + 6, card.mac, 6);
	f[12] = 0x88;
	f[13] = 0xb5; /* a local experiment's */
	f[14] = (uint8_t)n;
	for (unsigned i = 15; i < BYTES; i++)
		f[i] = byte(n, i);
	if (!net_send(&card, &tx[n % WINDOW].header, f, BYTES))
		guest_panic("net: the queue is full");
	mark(n);
}

static void receive(void)
{
	uint8_t f[256];
	struct net_header h;
	uint32_t len = net_receive(&card, &h, f, sizeof(f));

	if (!len)
		return;
	mark(len);
	expect("length", len, BYTES);
	expect("number", f[14], (uint8_t)echoed);
	for (unsigned i = 15; i < BYTES; i++)
		expect("byte", f[i], byte(echoed, i));
	echoed++;
}

int guest_main(void)
{
	const char *why = net_start(&card, 0, NET_MAC);
	uint64_t sent = 0;

	if (why) {
		print("net: the card %s\n", why);
		return 1;
	}
	while (echoed < FRAMES) {
		if (sent < FRAMES && sent - echoed < WINDOW)
			send(sent++);
		net_reap(&card);
		receive();
	}
	while (net_reap(&card))
		cpu_relax();
	return exact_end("net", echoed);
}
