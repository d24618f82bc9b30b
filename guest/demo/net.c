/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on a virtio-net: who is there, and how fast frames go. IPv4 by hand:
 * one address, no routes.
 */
#include "demo.h"
#include "net.h"

#define ETHER_BYTES 14
#define IP_BYTES    20
#define ICMP_BYTES  8
#define TYPE_ARP    0x0806
#define TYPE_IP	    0x0800
#define PROTO_ICMP  1
#define PROTO_UDP   17
#define PING_BYTES  1000
#define MAX_FRAMES  100000000

static struct net_card card GUEST_VOLATILE;
static uint8_t frame[NET_FRAME_MAX] GUEST_VOLATILE;

static bool start(void)
{
	const char *why;

	if (card.rx.ring)
		return true;
	why = net_start(&card, 0, NET_CSUM | NET_HOST_TSO4);
	if (why)
		print("net: the card %s\n", why);
	return !why;
}

/* ---- bytes ---- */

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static bool parse_ip(const char *s, uint8_t ip[4])
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned v = 0, digits = 0;

		for (; *s >= '0' && *s <= '9' && digits < 4; s++, digits++)
			v = v * 10 + (unsigned)(*s - '0');
		if (!digits || v > 255 || *s != (i < 3 ? '.' : 0))
			return false;
		s++;
		ip[i] = (uint8_t)v;
	}
	return true;
}

/* The Internet checksum; 0 over what holds a right one. */
static unsigned checksum(const uint8_t *p, uint32_t bytes)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i + 1 < bytes; i += 2)
		sum += get16(p + i);
	if (bytes & 1)
		sum += (uint32_t)p[bytes - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static void put_ether(uint8_t *f, const uint8_t *to, unsigned type)
{
	memcpy(f, to, 6);
	memcpy(f + 6, card.mac, 6);
	put16(f + 12, type);
}

static void put_ip(uint8_t *f, const uint8_t *from, const uint8_t *to,
		   unsigned protocol, uint32_t bytes)
{
	uint8_t *ip = f + ETHER_BYTES;

	memset(ip, 0, IP_BYTES);
	ip[0] = 0x45;
	put16(ip + 2, IP_BYTES + bytes);
	ip[8] = 64;
	ip[9] = (uint8_t)protocol;
	memcpy(ip + 12, from, 4);
	memcpy(ip + 16, to, 4);
	put16(ip + 10, checksum(ip, IP_BYTES));
}

/* Sends and waits until the device has taken it. */
static void send(uint8_t *f, uint32_t bytes)
{
	static struct net_header h GUEST_VOLATILE;

	memset(&h, 0, sizeof(h));
	if (!net_send(&card, &h, f, bytes))
		guest_panic("net: no room in an empty queue");
	while (net_reap(&card))
		cpu_relax();
}

/* ---- ARP and echo ---- */

static const uint8_t everybody[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static void send_arp(unsigned operation, const uint8_t *to, const uint8_t *mine,
		     const uint8_t *theirs)
{
	static uint8_t f[60] GUEST_VOLATILE;
	static const uint8_t kind[6] = { 0, 1, 8, 0, 6, 4 };

	memset(f, 0, sizeof(f));
	put_ether(f, to, TYPE_ARP);
	memcpy(f + 14, kind, 6);
	put16(f + 20, operation);
	memcpy(f + 22, card.mac, 6);
	memcpy(f + 28, mine, 4);
	memcpy(f + 32, to == everybody ? (const uint8_t[6]){ 0 } : to, 6);
	memcpy(f + 38, theirs, 4);
	send(f, sizeof(f));
}

/* Answers who asks for our address. */
static void answer_arp(const uint8_t *f, const uint8_t *mine)
{
	uint8_t to[6], theirs[4];

	if (get16(f + 20) != 1 || memcmp(f + 38, mine, 4))
		return;
	memcpy(to, f + 22, 6);
	memcpy(theirs, f + 28, 4);
	send_arp(2, to, mine, theirs);
}

/* The next frame in `frame`, after some sleep if there is none; its size. */
static uint32_t next_frame(void)
{
	struct net_header h;
	uint32_t bytes;

	while (!(bytes = net_receive(&card, &h, frame, sizeof(frame))))
		net_wait(&card);
	return bytes;
}

static bool is_arp(uint32_t bytes)
{
	return bytes >= 42 && get16(frame + 12) == TYPE_ARP;
}

/* Asks until someone answers; each other frame is a reason to ask again. */
static void resolve(const uint8_t *mine, const uint8_t *theirs, uint8_t mac[6])
{
	send_arp(1, everybody, mine, theirs);
	for (;;) {
		uint32_t bytes = next_frame();

		if (!is_arp(bytes))
			continue;
		answer_arp(frame, mine);
		if (get16(frame + 20) != 2 || memcmp(frame + 28, theirs, 4))
			continue;
		memcpy(mac, frame + 22, 6);
		return;
	}
}

static void send_ping(const uint8_t *mac, const uint8_t *mine,
		      const uint8_t *theirs, unsigned sequence, uint32_t bytes)
{
	static uint8_t
	    f[ETHER_BYTES + IP_BYTES + ICMP_BYTES + 65000] GUEST_VOLATILE;
	uint8_t *icmp = f + ETHER_BYTES + IP_BYTES;

	put_ether(f, mac, TYPE_IP);
	put_ip(f, mine, theirs, PROTO_ICMP, ICMP_BYTES + bytes);
	memset(icmp, 0, ICMP_BYTES);
	icmp[0] = 8;
	put16(icmp + 4, 0x7474);
	put16(icmp + 6, sequence);
	for (uint32_t i = 0; i < bytes; i++)
		icmp[ICMP_BYTES + i] = (uint8_t)(i * 3 + sequence);
	put16(icmp + 2, checksum(icmp, ICMP_BYTES + bytes));
	send(f, ETHER_BYTES + IP_BYTES + ICMP_BYTES + bytes);
}

/* Is the frame the echo of that ping? */
static bool is_echo(uint32_t got, unsigned sequence, uint32_t bytes)
{
	const uint8_t *ip = frame + ETHER_BYTES, *icmp = ip + IP_BYTES;

	if (got < ETHER_BYTES + IP_BYTES + ICMP_BYTES + bytes ||
	    get16(frame + 12) != TYPE_IP || ip[9] != PROTO_ICMP ||
	    checksum(ip, IP_BYTES) || icmp[0] != 0 ||
	    get16(icmp + 6) != sequence || checksum(icmp, ICMP_BYTES + bytes))
		return false;
	for (uint32_t i = 0; i < bytes; i++)
		if (icmp[ICMP_BYTES + i] != (uint8_t)(i * 3 + sequence))
			return false;
	return true;
}

/* net ping IP MINE [COUNT [BYTES]] */
static int net_ping(unsigned argc, char **argv)
{
	uint8_t mine[4], theirs[4], mac[6];
	uint64_t count, bytes;

	if (argc < 4 || !parse_ip(argv[2], theirs) ||
	    !parse_ip(argv[3], mine) ||
	    !demo_number(argc, argv, 4, 1000000, 1, &count) ||
	    !demo_number(argc, argv, 5, 65000, PING_BYTES, &bytes))
		return DEMO_USAGE;
	net_listen(&card);
	resolve(mine, theirs, mac);
	for (unsigned i = 0; i < count; i++) {
		uint32_t got;

		send_ping(mac, mine, theirs, i & 0xffff, (uint32_t)bytes);
		do {
			got = next_frame();
			if (is_arp(got))
				answer_arp(frame, mine);
		} while (!is_echo(got, i & 0xffff, (uint32_t)bytes));
	}
	print("net: %lu echoes of %lu bytes came back whole\n", count, bytes);
	return 0;
}

/* ---- as they are ---- */

/* net echo COUNT: sends back what comes, addresses turned round. */
static int net_echo(unsigned argc, char **argv)
{
	uint64_t count;

	if (argc < 3 || !demo_number(argc, argv, 2, MAX_FRAMES, 1, &count))
		return DEMO_USAGE;
	net_listen(&card);
	for (uint64_t i = 0; i < count; i++) {
		uint32_t bytes = next_frame();

		memcpy(frame, frame + 6, 6);
		memcpy(frame + 6, card.mac, 6);
		send(frame, bytes);
	}
	print("net: %lu frames sent back\n", count);
	return 0;
}

static void print_rate(const char *what, uint64_t frames, uint64_t bytes,
		       uint64_t cycles)
{
	uint64_t us = demo_microseconds(cycles);

	if (!us)
		us = 1;
	print("net: %s %lu frames of %lu bytes in %lu us: %lu a second, "
	      "%lu MB/s\n",
	      what, frames, bytes, us, frames * 1000000 / us,
	      frames * bytes / us);
}

/* A TCP segment of no connection, or a datagram to nobody's port. */
static void fill(uint32_t bytes, struct net_header *h)
{
	static const uint8_t from[4] = { 192, 0, 2, 1 },
			     to[4] = { 192, 0, 2, 2 };
	static const uint8_t nobody[6] = { 2, 0, 0, 0, 0, 0x77 };
	bool large = bytes > 1514;

	memset(frame, 0, bytes);
	memset(h, 0, sizeof(*h));
	put_ether(frame, nobody, TYPE_IP);
	put_ip(frame, from, to, large ? 6 : PROTO_UDP,
	       bytes - ETHER_BYTES - IP_BYTES);
	if (!large)
		return;
	frame[34 + 12] = 0x50; /* its header has 20 bytes */
	h->flags = 1;
	h->gso = 1;
	h->header_bytes = 54;
	h->gso_bytes = 1460;
	h->csum_start = 34;
	h->csum_offset = 16;
}

/* net send COUNT [BYTES]: as fast as they are taken. */
static int net_flood(unsigned argc, char **argv)
{
	static struct net_header h GUEST_VOLATILE;
	uint64_t count, bytes, begin, offered = 0;

	if (argc < 3 || !demo_number(argc, argv, 2, MAX_FRAMES, 1, &count) ||
	    !demo_number(argc, argv, 3, 65535, 64, &bytes) || bytes < 60)
		return DEMO_USAGE;
	if (bytes > 1514 && !(card.dev.features & NET_HOST_TSO4)) {
		print("net: the card takes no such frames\n");
		return DEMO_FAILED;
	}
	fill((uint32_t)bytes, &h);
	begin = clock_tsc();
	while (offered < count) {
		if (net_send(&card, &h, frame, (uint32_t)bytes))
			offered++;
		else
			net_reap(&card);
	}
	while (net_reap(&card))
		cpu_relax();
	print_rate("sent", count, bytes, clock_tsc() - begin);
	return 0;
}

/* net receive COUNT: the first does not count, it tells that they come. */
static int net_count(unsigned argc, char **argv)
{
	uint64_t count, begin, bytes = 0, frames = 0;

	if (argc < 3 || !demo_number(argc, argv, 2, MAX_FRAMES, 1, &count))
		return DEMO_USAGE;
	while (!net_discard(&card))
		cpu_relax();
	begin = clock_tsc();
	while (frames < count) {
		uint32_t got = net_discard(&card);

		if (!got) {
			cpu_relax();
			continue;
		}
		bytes += got;
		frames++;
	}
	print_rate("received", frames, frames ? bytes / frames : 0,
		   clock_tsc() - begin);
	return 0;
}

static int net_show(unsigned argc, char **argv)
{
	const uint8_t *m = card.mac;

	print("net: %02x:%02x:%02x:%02x:%02x:%02x, link %s, MTU %u, features "
	      "0x%lx\n",
	      m[0], m[1], m[2], m[3], m[4], m[5],
	      net_link_up(&card) ? "up" : "down", card.mtu, card.dev.features);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(unsigned argc, char **argv);
} verbs[] = {
	{ "ping", net_ping },	  { "echo", net_echo }, { "send", net_flood },
	{ "receive", net_count }, { "show", net_show },
};

static int cmd_net(unsigned argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "show";

	for (unsigned i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(verbs[i].name, verb))
			return start() ? verbs[i].run(argc, argv) : DEMO_FAILED;
	return DEMO_USAGE;
}

const struct command net_commands[] = {
	{ "net",
	  "[show] | ping IP MINE [COUNT [BYTES]] | echo COUNT | "
	  "send COUNT [BYTES] | receive COUNT",
	  "look at the virtio-net, or move frames", cmd_net, 0, 5, true },
	{ NULL, NULL, NULL, NULL, 0, 0, false },
};
