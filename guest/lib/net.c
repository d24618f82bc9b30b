/* SPDX-License-Identifier: Apache-2.0 */
/* Driver's side of virtio-net (virtio 1.2, 5.1). */
#include "net.h"

#define CONFIG	      0x100
#define CONFIG_STATUS (CONFIG + 6)
#define CONFIG_MTU    (CONFIG + 10)
#define LINK_UP	      1

/* Offers one receive buffer: the number of its descriptor finds it again. */
static void offer_buffer(struct net_card *c, uint8_t *data)
{
	struct virtio_buf buf = { data, NET_RX_BYTES, true };
	int id = virtio_offer(&c->rx, &buf, 1);

	if (id < 0 || id >= NET_RX_BUFFERS)
		guest_panic("net: a receive buffer too many");
	c->rx_buffer[id] = data;
}

const char *net_start(struct net_card *c, unsigned n, uint64_t wanted)
{
	const char *why;

	if (!virtio_find(VIRTIO_ID_NET, n, &c->dev))
		return "is not there";
	why = virtio_begin(&c->dev, wanted | VIRTIO_EVENT_IDX | NET_MAC |
					NET_STATUS | NET_MTU | NET_MRG_RXBUF);
	if (!why)
		why = virtio_queue(&c->dev, 0, NET_RX_BUFFERS, &c->rx);
	if (!why)
		why = virtio_queue(&c->dev, 1, 2 * NET_TX_FRAMES, &c->tx);
	if (why)
		return why;
	for (unsigned i = 0; i < NET_MAC_BYTES; i++)
		c->mac[i] = (uint8_t)mmio_read(c->dev.base + CONFIG + i, 1);
	if (c->dev.features & NET_MTU)
		c->mtu = (uint16_t)mmio_read(c->dev.base + CONFIG_MTU, 2);
	virtio_go(&c->dev);
	for (unsigned i = 0; i < NET_RX_BUFFERS; i++)
		offer_buffer(c, c->data[i]);
	return NULL;
}

bool net_link_up(struct net_card *c)
{
	return mmio_read(c->dev.base + CONFIG_STATUS, 2) & LINK_UP;
}

bool net_send(struct net_card *c, struct net_header *h, void *frame,
	      uint32_t bytes)
{
	struct virtio_buf bufs[2] = { { h, NET_HEADER_BYTES, false },
				      { frame, bytes, false } };

	return virtio_offer(&c->tx, bufs, 2) >= 0;
}

unsigned net_reap(struct net_card *c)
{
	uint32_t written;
	unsigned id;

	while (virtio_take(&c->tx, &id, &written))
		c->sent++;
	return (unsigned)(c->tx.size - c->tx.nfree) / 2;
}

static void copy(uint8_t *to, uint32_t room, uint32_t at, const uint8_t *from,
		 uint32_t bytes)
{
	if (at < room)
		memcpy(to + at, from, bytes < room - at ? bytes : room - at);
}

/* The next buffer of a frame that has begun: it is there already. */
static uint8_t *next_buffer(struct net_card *c, uint32_t *bytes)
{
	unsigned id;

	if (!virtio_take(&c->rx, &id, bytes))
		return NULL;
	return c->rx_buffer[id];
}

uint32_t net_receive(struct net_card *c, struct net_header *h, void *frame,
		     uint32_t room)
{
	uint32_t bytes, at = 0;
	uint8_t *data = next_buffer(c, &bytes);

	if (!data)
		return 0;
	memcpy(h, data, NET_HEADER_BYTES);
	copy(frame, room, 0, data + NET_HEADER_BYTES, bytes - NET_HEADER_BYTES);
	at = bytes - NET_HEADER_BYTES;
	offer_buffer(c, data);
	for (unsigned i = 1; i < h->buffers; i++) {
		do
			data = next_buffer(c, &bytes);
		while (!data);
		copy(frame, room, at, data, bytes);
		at += bytes;
		offer_buffer(c, data);
	}
	c->received++;
	return at;
}

uint32_t net_discard(struct net_card *c)
{
	struct net_header h;

	return net_receive(c, &h, NULL, 0);
}

void net_listen(struct net_card *c)
{
	virtio_listen(&c->rx, VECTOR_VIRTIO);
}

void net_wait(struct net_card *c)
{
	uint64_t seen = c->rx.interrupts;

	if (!virtio_ready(&c->rx) && !virtio_ready(&c->tx))
		irq_wait_change(&c->rx.interrupts, seen);
}
