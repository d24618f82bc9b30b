/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 16550A under any sequence of register accesses, input, back-pressure and
 * snapshots. Each input byte pair is one step. Asserted after each step: the
 * state is one that a snapshot may hold, the line follows IIR and OUT2, and
 * every byte that was accepted comes out once and in order on either side.
 */
#include <assert.h>
#include <string.h>

#include "bus.h"
#include "log.h"
#include "uart.h"
#include "util.h"

enum { DATA, IER, IIR, LCR, MCR, LSR };

/* What must still come out of a side. */
struct queue {
	uint8_t byte[64];
	unsigned n;
};

static struct {
	unsigned room;
	bool refused;
	struct console_guest *guest;
	struct queue tx, rx;
} toy;

static struct uart u, judge;
static struct bus bus;
static uint8_t next_input;

static void push(struct queue *q, uint8_t v)
{
	assert(q->n < sizeof(q->byte));
	q->byte[q->n++] = v;
}

static uint8_t pop(struct queue *q)
{
	uint8_t v = q->byte[0];

	assert(q->n);
	memmove(q->byte, q->byte + 1, --q->n);
	return v;
}

/* In place of vmm/console.c, which is not linked then. */
void console_connect(struct console *c, struct console_guest *g)
{
	if (!toy.guest)
		toy.guest = g;
}

bool console_put(struct console *c, uint8_t byte)
{
	if (!toy.room) {
		toy.refused = true;
		return false;
	}
	toy.room--;
	assert(pop(&toy.tx) == byte);
	return true;
}

void console_pull(struct console *c)
{
}

static uint8_t in(struct uart *from, unsigned port)
{
	return (uint8_t)from->dev.ops->read(&from->dev, port, 1);
}

static void judge_state(void)
{
	bool out2 = (u.st.mcr & 0x18) == 0x08;
	unsigned room = toy.room;

	assert(u.st.rx_count == toy.rx.n);
	assert(u.st.tx_count == toy.tx.n);
	/* A copy, since reading IIR changes it; it must not print. */
	toy.room = 0;
	judge.st = u.st;
	assert(judge.dev.ops->restored(&judge.dev) == 0);
	assert(state_diff(judge.dev.ops->state, &judge.st, &u.st, NULL, NULL) ==
	       0);
	assert(judge.irq.level == u.irq.level);
	assert(u.irq.level == (out2 && !(in(&judge, IIR) & 0x01)));
	assert(!!(in(&judge, LSR) & 0x01) == (u.st.rx_count > 0));
	assert(!!(in(&judge, LSR) & 0x20) == (u.st.tx_count == 0));
	toy.room = room;
}

/* The model of a write to the data port. */
static void expect_data(uint8_t v)
{
	unsigned cap = u.st.fcr & 1 ? UART_FIFO_BYTES : 1;

	if (u.st.lcr & 0x80)
		return;
	if (!(u.st.mcr & 0x10)) {
		if (toy.tx.n < cap)
			push(&toy.tx, v);
	} else if (toy.rx.n < cap) {
		push(&toy.rx, v);
	} else if (cap == 1) {
		toy.rx.byte[0] = v;
	}
}

static void expect_fifo_control(uint8_t v)
{
	bool both = (v ^ u.st.fcr) & 1;

	if (both || (v & 3) == 3)
		toy.rx.n = 0;
	if (both || (v & 5) == 5)
		toy.tx.n = 0;
}

static void write_port(unsigned port, uint8_t v)
{
	if (port == DATA)
		expect_data(v);
	if (port == IIR)
		expect_fifo_control(v);
	bus_write(&bus, port, &v, 1);
}

static void read_port(unsigned port)
{
	bool data = port == DATA && !(u.st.lcr & 0x80) && toy.rx.n;
	uint8_t v;

	bus_read(&bus, port, &v, 1);
	if (data)
		assert(v == pop(&toy.rx));
}

static void input(unsigned n)
{
	uint8_t bytes[32];
	size_t taken;

	for (unsigned i = 0; i < n; i++)
		bytes[i] = next_input++;
	taken = toy.guest->input(toy.guest, bytes, n);
	assert(taken <= n);
	for (size_t i = 0; i < taken; i++)
		push(&toy.rx, bytes[i]);
}

static void reset(void)
{
	u.dev.ops->reset(&u.dev);
	toy.rx.n = toy.tx.n = 0;
}

static void restore(uint8_t at, uint8_t v)
{
	((uint8_t *)&u.st)[at % sizeof(u.st)] ^= v;
	u.dev.ops->restored(&u.dev);
	/* Whatever was let in is what must come out. */
	memcpy(toy.rx.byte, u.st.rx, toy.rx.n = u.st.rx_count);
	memcpy(toy.tx.byte, u.st.tx, toy.tx.n = u.st.tx_count);
	u.dev.ops->resume(&u.dev);
}

static void step(uint8_t op, uint8_t v)
{
	switch (op >> 4 & 7) {
	case 0: /* these twice: they are what guests do */
	case 1:
		write_port(op & 7, v);
		break;
	case 2:
	case 3:
		read_port(op & 7);
		break;
	case 4:
		input(v % 32);
		break;
	case 5:
		toy.room = v;
		toy.guest->writable(toy.guest);
		break;
	case 6: { /* any access, also refused ones */
		uint64_t x = v;
		unsigned len = 2u << op % 3;

		bus_write(&bus, v % 16, &x, len);
		bus_read(&bus, v % 16, &x, len);
		break;
	}
	case 7:
		if (op & 8)
			restore(op & 7 ? op * 7 : v, v);
		else if (!(op & 7))
			reset();
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct irq none;

	log_setup(-1, LOG_ERROR);
	memset(&toy, 0, sizeof(toy));
	irq_init(&none, -1, 0);
	uart_init(&u, "uart0", none, NULL);
	uart_init(&judge, "judge", none, NULL);
	bus_init(&bus, "pio");
	bus_add(&bus, 0, UART_PORTS, &u.dev);
	for (size_t i = 0; i + 1 < size; i += 2) {
		step(data[i], data[i + 1]);
		judge_state();
	}
	device_fini(&u.dev);
	device_fini(&judge.dev);
	return 0;
}
