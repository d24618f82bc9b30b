/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net between a driver and a host, for its tests: one device, made anew
 * by each of them. Datagram sockets stand for the tap (one read, one frame),
 * stream sockets for passt.
 */
#ifndef TINTYPE_NETTEST_H
#define TINTYPE_NETTEST_H

#include "net_impl.h"

/* Where the driver has its queues and buffers. */
#define SIZE	  64
#define DESC(q)	  (0x10000 + (q)*0x4000)
#define AVAIL(q)  (DESC(q) + 0x1000)
#define USED(q)	  (DESC(q) + 0x2000)
#define BUFFER(i) (0x100000 + (i)*0x1000) /* to receive in */
#define OUT	  0x40000		  /* to send from */
#define BIG	  0x200000
#define HEADER	  12
#define MERGE	  NET_F_MRG_RXBUF

extern struct loop loop;
extern struct gmem ram;
extern struct net *net;
extern struct virtio *vdev;
extern int host; /* the other end of the port's fd */
extern uint16_t offered[NET_QUEUES];
extern const uint8_t mac[NET_MAC_BYTES];

/* A header of 12 bytes and a frame: what is sent, what has come. */
#define FRAME_ROOM (HEADER + NET_FRAME_MAX + 64)
extern uint8_t frame[FRAME_ROOM], got[FRAME_ROOM];

void nettest_init(void);
void nettest_fini(void);

/* The fd of a port, whose other end is `host`. */
int socket_pair(int type);

/* The device, on a port of that kind. */
void make_net(struct net_port *port, uint64_t bytes_max, uint64_t frames_max);
void with_tap(void);
void with_stream(void);

/* The socket takes little before it stalls. */
void small_buffer(void);

void loop_steps(unsigned n);

/* ---- the driver ---- */

uint32_t get_reg(unsigned reg);
void set_reg(unsigned reg, uint32_t value);
void put16(uint64_t at, uint16_t value);
uint16_t get16(uint64_t at);

/* Resets the device and sets both queues up. */
void start_driver(uint64_t features);

void put_desc(unsigned q, unsigned i, uint64_t addr, uint32_t len,
	      uint16_t flags, uint16_t next);
void offer_chain(unsigned q, uint16_t head);
void kick_queue(unsigned q);
uint16_t used_count(unsigned q);

/* The bytes of the i-th chain that came back, and its head. */
uint32_t used_bytes(unsigned q, unsigned i, uint32_t *head);

bool broken(void);

/* ---- frames ---- */

/* Fills `frame`: a header of zeroes, and `bytes` of a pattern. */
void fill_frame(size_t bytes, uint8_t seed);
struct net_header *header(void);

/* The driver sends it, in one buffer, descriptor 0. */
void send_frame(size_t bytes);

/* What the tap gets of it: the size, without the header; -1: nothing. */
ssize_t host_takes(void);
void expect_sent(size_t bytes);
void expect_nothing_sent(void);

/* Offers `n` buffers of `bytes` each to receive in. */
void offer_buffers(unsigned n, uint32_t bytes);

/* The tap gives `frame`. */
void host_sends(size_t bytes);

/* The frame of `bytes` that begins in the from-th chain that came back lies in
 * `count` buffers of `each`. */
void expect_received(unsigned from, size_t bytes, unsigned count,
		     uint32_t each);

/* The driver was told, and the VM runs on. */
void expect_link_down(void);

#endif
