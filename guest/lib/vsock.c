/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock, driver's side (virtio 1.2, 5.10). */
#include "vsock.h"

#include "layout.h"

#define HOST_CID   2
#define FIRST_PORT 1024
#define RX_BUFS	   16
#define TX_BUFS	   8
#define BUF_BYTES  4096
#define HEADER	   sizeof(struct packet)
#define DATA_BYTES (BUF_BYTES - HEADER)
#define CONFIG	   0x100

enum { RX, TX, EVENT };
enum {
	REQUEST = 1,
	RESPONSE,
	RST,
	SHUTDOWN,
	RW,
	CREDIT_UPDATE,
	CREDIT_REQUEST
};
enum { SHUT_RCV = 1, SHUT_SEND = 2 };

struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

static struct virtio_dev dev;
static struct virtio_queue queue[3];
static uint8_t *rx_buf, *tx_buf; /* RX_BUFS, TX_BUFS of BUF_BYTES */
/* Which buffer a descriptor's request is of. */
static uint8_t rx_of[RX_BUFS], tx_of[TX_BUFS], tx_free[TX_BUFS];
static unsigned tx_nfree, resets;
static uint32_t event, listening, next_port = FIRST_PORT;
static bool is_open, listens;
static struct vsock_conn conns[VSOCK_CONNS];
static uint64_t cid;

/* ---- set up ---- */

static void offer_rx(unsigned i)
{
	struct virtio_buf b = { rx_buf + i * BUF_BYTES, BUF_BYTES, true };
	int id = virtio_offer(&queue[RX], &b, 1);

	if (id < 0 || id >= RX_BUFS)
		guest_panic("vsock: no room in a queue");
	rx_of[id] = (uint8_t)i;
}

static void offer_event(void)
{
	struct virtio_buf b = { &event, sizeof(event), true };

	if (virtio_offer(&queue[EVENT], &b, 1) < 0)
		guest_panic("vsock: no room in a queue");
}

static const char *set_up(void)
{
	const char *why = virtio_begin(&dev, VIRTIO_EVENT_IDX);

	if (why || (why = virtio_queue(&dev, RX, RX_BUFS, &queue[RX])) ||
	    (why = virtio_queue(&dev, TX, TX_BUFS, &queue[TX])) ||
	    (why = virtio_queue(&dev, EVENT, 2, &queue[EVENT])))
		return why;
	rx_buf = mem_alloc_pages(RX_BUFS);
	tx_buf = mem_alloc_pages(TX_BUFS);
	if (!rx_buf || !tx_buf)
		return "wants more memory than there is";
	for (unsigned i = 0; i < TX_BUFS; i++)
		tx_free[tx_nfree++] = (uint8_t)i;
	cid = virtio_get(&dev, CONFIG) | (uint64_t)virtio_get(&dev, CONFIG + 4)
					     << 32;
	virtio_listen(&queue[RX], VECTOR_VIRTIO);
	virtio_go(&dev);
	for (unsigned i = 0; i < RX_BUFS; i++)
		offer_rx(i);
	offer_event();
	return NULL;
}

const char *vsock_open(void)
{
	const char *why;

	if (is_open)
		return NULL;
	if (!virtio_find(VIRTIO_ID_VSOCK, 0, &dev))
		return "is not there; run with --vsock";
	why = set_up();
	is_open = !why;
	return why;
}

uint64_t vsock_cid(void)
{
	return cid;
}

/* ---- packets out ---- */

static void reclaim(void)
{
	uint32_t written;
	unsigned id;

	while (virtio_take(&queue[TX], &id, &written))
		tx_free[tx_nfree++] = tx_of[id];
}

/* The device always takes them, soon. */
static uint8_t *tx_slot(unsigned *slot)
{
	for (reclaim(); !tx_nfree; reclaim())
		cpu_relax();
	*slot = tx_free[--tx_nfree];
	return tx_buf + *slot * BUF_BYTES;
}

static void send(const struct packet *h, const void *data)
{
	unsigned slot;
	uint8_t *at = tx_slot(&slot);
	struct virtio_buf b = { at, (uint32_t)HEADER + h->len, false };
	int id;

	memcpy(at, h, HEADER);
	if (h->len)
		memcpy(at + HEADER, data, h->len);
	id = virtio_offer(&queue[TX], &b, 1);
	if (id < 0 || id >= TX_BUFS)
		guest_panic("vsock: no room in a queue");
	tx_of[id] = (uint8_t)slot;
}

static void send_op(struct vsock_conn *c, uint16_t op, uint32_t flags,
		    const void *data, uint32_t len)
{
	struct packet h = { .src_cid = cid,
			    .dst_cid = HOST_CID,
			    .src_port = c->port,
			    .dst_port = c->host_port,
			    .len = len,
			    .type = 1,
			    .op = op,
			    .flags = flags,
			    .buf_alloc = VSOCK_RING_BYTES,
			    .fwd_cnt = c->fwd };

	c->told_fwd = c->fwd;
	send(&h, data);
}

/* ---- connections ---- */

static struct vsock_conn *find(uint32_t port, uint32_t host_port)
{
	for (unsigned i = 0; i < VSOCK_CONNS; i++)
		if (conns[i].phase != VSOCK_NONE &&
		    conns[i].phase != VSOCK_GONE && conns[i].port == port &&
		    conns[i].host_port == host_port)
			return &conns[i];
	return NULL;
}

static struct vsock_conn *add(uint32_t port, uint32_t host_port)
{
	for (unsigned i = 0; i < VSOCK_CONNS; i++) {
		struct vsock_conn *c = &conns[i];
		uint8_t *ring = c->ring;

		if (c->phase != VSOCK_NONE)
			continue;
		if (!ring)
			ring = mem_alloc_pages(VSOCK_RING_BYTES / 4096);
		if (!ring)
			return NULL;
		*c = (struct vsock_conn){ .port = port,
					  .host_port = host_port,
					  .ring = ring };
		return c;
	}
	return NULL;
}

void vsock_listen(uint32_t port)
{
	listening = port;
	listens = true;
}

struct vsock_conn *vsock_accept(void)
{
	for (unsigned i = 0; i < VSOCK_CONNS; i++) {
		if (conns[i].phase == VSOCK_NONE || conns[i].accepted)
			continue;
		conns[i].accepted = true;
		return &conns[i];
	}
	return NULL;
}

struct vsock_conn *vsock_connect(uint32_t host_port)
{
	struct vsock_conn *c;

	while (find(next_port, host_port))
		next_port++;
	c = add(next_port++, host_port);
	if (!c)
		return NULL;
	c->phase = VSOCK_CONNECTING;
	c->accepted = true;
	send_op(c, REQUEST, 0, NULL, 0);
	return c;
}

const uint8_t *vsock_peek(const struct vsock_conn *c, uint32_t *len)
{
	uint32_t at = c->fwd % VSOCK_RING_BYTES, n = c->got - c->fwd;

	*len = n < VSOCK_RING_BYTES - at ? n : VSOCK_RING_BYTES - at;
	return c->ring + at;
}

void vsock_skip(struct vsock_conn *c, uint32_t len)
{
	c->fwd += len;
	if (c->phase == VSOCK_CONNECTED &&
	    c->fwd - c->told_fwd >= VSOCK_RING_BYTES / 2)
		send_op(c, CREDIT_UPDATE, 0, NULL, 0);
}

uint32_t vsock_write(struct vsock_conn *c, const void *data, uint32_t len)
{
	uint32_t room = c->peer_alloc - (c->sent - c->peer_fwd);

	if (c->phase != VSOCK_CONNECTED || c->we_done)
		return 0;
	if (len > room)
		len = room;
	if (len > DATA_BYTES)
		len = DATA_BYTES;
	if (!len)
		return 0;
	send_op(c, RW, 0, data, len);
	c->sent += len;
	return len;
}

void vsock_done(struct vsock_conn *c)
{
	if (c->phase == VSOCK_CONNECTED && !c->we_done)
		send_op(c, SHUTDOWN, SHUT_SEND, NULL, 0);
	c->we_done = true;
}

void vsock_close(struct vsock_conn *c)
{
	if (c->phase == VSOCK_CONNECTED && !c->we_closed)
		send_op(c, SHUTDOWN, SHUT_SEND | SHUT_RCV, NULL, 0);
	c->we_done = c->we_closed = true;
}

void vsock_put(struct vsock_conn *c)
{
	c->phase = VSOCK_NONE;
}

/* ---- packets in ---- */

static void refuse(const struct packet *h)
{
	struct vsock_conn stray = { .port = h->dst_port,
				    .host_port = h->src_port };

	if (h->op != RST)
		send_op(&stray, RST, 0, NULL, 0);
}

static void request(const struct packet *h)
{
	struct vsock_conn *c = NULL;

	if (listens && h->dst_port == listening)
		c = add(h->dst_port, h->src_port);
	if (!c) {
		refuse(h);
		return;
	}
	c->phase = VSOCK_CONNECTED;
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	send_op(c, RESPONSE, 0, NULL, 0);
}

static void receive_data(struct vsock_conn *c, const struct packet *h,
			 const uint8_t *data)
{
	if (h->len > VSOCK_RING_BYTES - (c->got - c->fwd))
		guest_panic("vsock: the device overruns its credit");
	for (uint32_t i = 0; i < h->len; i++)
		c->ring[(c->got + i) % VSOCK_RING_BYTES] = data[i];
	c->got += h->len;
}

static void receive(const struct packet *h, const uint8_t *data)
{
	struct vsock_conn *c = find(h->dst_port, h->src_port);

	if (!c) {
		if (h->op == REQUEST)
			request(h);
		else
			refuse(h);
		return;
	}
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	if (h->op == RST) {
		c->phase = VSOCK_GONE;
		c->host_done = c->host_deaf = true;
	} else if (h->op == RESPONSE) {
		c->phase = VSOCK_CONNECTED;
	} else if (h->op == RW) {
		receive_data(c, h, data);
	} else if (h->op == CREDIT_REQUEST) {
		send_op(c, CREDIT_UPDATE, 0, NULL, 0);
	} else if (h->op == SHUTDOWN) {
		c->host_done |= !!(h->flags & SHUT_SEND);
		c->host_deaf |= !!(h->flags & SHUT_RCV);
	}
}

static bool take(void)
{
	uint32_t written;
	unsigned id;
	bool any = false;

	for (; virtio_take(&queue[RX], &id, &written); any = true) {
		unsigned i = rx_of[id];
		struct packet h;

		memcpy(&h, rx_buf + i * BUF_BYTES, HEADER);
		if (written < HEADER || written != HEADER + h.len ||
		    h.dst_cid != cid)
			guest_panic("vsock: a packet of a wrong size or CID");
		receive(&h, rx_buf + i * BUF_BYTES + HEADER);
		offer_rx(i);
	}
	for (; virtio_take(&queue[EVENT], &id, &written); any = true) {
		for (unsigned i = 0; i < VSOCK_CONNS; i++)
			if (conns[i].phase != VSOCK_NONE)
				conns[i].phase = VSOCK_GONE;
		resets++;
		offer_event();
	}
	return any;
}

unsigned vsock_transport_resets(void)
{
	return resets;
}

void vsock_wait(void)
{
	for (;;) {
		uint64_t seen = queue[RX].interrupts;

		reclaim();
		if (take())
			return;
		irq_wait_change(&queue[RX].interrupts, seen);
	}
}
