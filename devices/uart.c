/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16550A: whatever the guest does to its registers, the counts stay within the
 * FIFOs and the interrupt line is a function of the state.
 *
 * Nothing but update_irq touches the line, and each function that changes
 * state calls it after the change. A write to THR calls it twice: the
 * THR-empty interrupt falls with the write and rises when the byte has left,
 * which an edge-triggered controller must see.
 */
#include "uart.h"

#include <errno.h>
#include <string.h>

#include "util.h"

/* Ports; with LCR's DLAB set, 0 and 1 are the divisor latches. */
enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

enum {
	IER_RX = 0x01,
	IER_THRE = 0x02,
	IER_LINE = 0x04,
	IER_MODEM = 0x08,
	IER_ALL = 0x0f,
};
enum {
	IIR_MODEM = 0x00,
	IIR_NONE = 0x01,
	IIR_THRE = 0x02,
	IIR_RX = 0x04,
	IIR_LINE = 0x06,
	IIR_TIMEOUT = 0x0c,
	IIR_FIFOS = 0xc0,
};
enum {
	FCR_ENABLE = 0x01,
	FCR_CLEAR_RX = 0x02,
	FCR_CLEAR_TX = 0x04,
	FCR_TRIGGER = 0xc0,
	FCR_KEPT = FCR_ENABLE | FCR_TRIGGER,
};
enum { LCR_DLAB = 0x80 };
enum {
	MCR_DTR = 0x01,
	MCR_RTS = 0x02,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,
	MCR_ALL = 0x1f,
};
enum {
	LSR_READY = 0x01,
	LSR_OVERRUN = 0x02,
	LSR_THRE = 0x20,
	LSR_IDLE = 0x40,
};
enum {
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RING = 0x40,
	MSR_DCD = 0x80,
	MSR_DELTAS = 0x0f,
	MSR_DELTA_RING = 0x04, /* ring went away; the others: any change */
};

#define POWER_ON_DIVISOR 12 /* 9600 baud; only ever read back */

static const struct state_field uart_fields[] = {
	STATE_ARRAY(struct uart_state, rx, 1),
	STATE_ARRAY(struct uart_state, tx, 1),
	STATE(struct uart_state, rx_count, 1),
	STATE(struct uart_state, tx_count, 1),
	STATE(struct uart_state, ier, 1),
	STATE(struct uart_state, fcr, 1),
	STATE(struct uart_state, lcr, 1),
	STATE(struct uart_state, mcr, 1),
	STATE(struct uart_state, scr, 1),
	STATE(struct uart_state, dll, 1),
	STATE(struct uart_state, dlm, 1),
	STATE(struct uart_state, lsr_errors, 1),
	STATE(struct uart_state, msr_delta, 1),
	STATE(struct uart_state, thre_pending, 1),
};
static const struct state_desc uart_desc =
    STATE_DESC("uart", 1, struct uart_state, uart_fields);

/* Writes to LSR and MSR are allowed and do nothing: the data sheet keeps them
 * for factory tests. */
static const struct reg uart_regs[] = {
	{ RBR_THR, 1, REG_1, REG_RW, "RBR/THR/DLL" },
	{ IER, 1, REG_1, REG_RW, "IER/DLM" },
	{ IIR_FCR, 1, REG_1, REG_RW, "IIR/FCR" },
	{ LCR, 1, REG_1, REG_RW, "LCR" },
	{ MCR, 1, REG_1, REG_RW, "MCR" },
	{ LSR, 1, REG_1, REG_RW, "LSR" },
	{ MSR, 1, REG_1, REG_RW, "MSR" },
	{ SCR, 1, REG_1, REG_RW, "SCR" },
};

static struct uart *uart_of(struct device *d)
{
	return container_of(d, struct uart, dev);
}

static unsigned fifo_bytes(const struct uart_state *s)
{
	return s->fcr & FCR_ENABLE ? UART_FIFO_BYTES : 1;
}

static unsigned trigger(const struct uart_state *s)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };

	return s->fcr & FCR_ENABLE ? level[s->fcr >> 6] : 1;
}

/* What IIR's low bits say: the cause of the highest priority (data sheet,
 * table IV), or none. */
static uint8_t cause(const struct uart_state *s)
{
	if ((s->ier & IER_LINE) && s->lsr_errors)
		return IIR_LINE;
	if ((s->ier & IER_RX) && s->rx_count)
		return s->rx_count >= trigger(s) ? IIR_RX : IIR_TIMEOUT;
	if ((s->ier & IER_THRE) && s->thre_pending)
		return IIR_THRE;
	if ((s->ier & IER_MODEM) && s->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

/* On a PC, OUT2 connects the interrupt pin to the line; in loopback the
 * outputs are inactive, OUT2 among them. */
static bool asks(const struct uart *u)
{
	bool connected = (u->st.mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	return connected && cause(&u->st) != IIR_NONE;
}

static void update_irq(struct uart *u)
{
	irq_set(&u->irq, asks(u));
}

/* The modem's lines: a terminal is connected and ready. In loopback, our own
 * outputs. */
static uint8_t modem_lines(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
	       (mcr & MCR_OUT1 ? MSR_RING : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
}

/* The first byte of a FIFO of `*count`; what lies beyond stays 0. */
static uint8_t shift(uint8_t fifo[UART_FIFO_BYTES], uint8_t *count)
{
	uint8_t byte = fifo[0];

	memmove(fifo, fifo + 1, UART_FIFO_BYTES - 1);
	fifo[--*count] = 0;
	return byte;
}

static void clear_rx(struct uart_state *s)
{
	memset(s->rx, 0, sizeof(s->rx));
	s->rx_count = 0;
}

static void clear_tx(struct uart_state *s)
{
	if (s->tx_count)
		s->thre_pending = 1;
	memset(s->tx, 0, sizeof(s->tx));
	s->tx_count = 0;
}

/* One byte arrives. When full: a FIFO keeps what it has and the new byte is
 * lost, the single register is overwritten (data sheet, LSR bit 1). */
static void receive(struct uart_state *s, uint8_t byte)
{
	if (s->rx_count < fifo_bytes(s)) {
		s->rx[s->rx_count++] = byte;
		return;
	}
	s->lsr_errors |= LSR_OVERRUN;
	if (!(s->fcr & FCR_ENABLE))
		s->rx[0] = byte;
}

/* Sends what the console takes; the rest waits for its `writable`. */
static void transmit(struct uart *u)
{
	struct uart_state *s = &u->st;

	if (!s->tx_count)
		return;
	while (s->tx_count && console_put(u->con, s->tx[0]))
		shift(s->tx, &s->tx_count);
	if (!s->tx_count)
		s->thre_pending = 1;
}

static uint64_t read_rbr(struct uart *u)
{
	struct uart_state *s = &u->st;

	if (s->lcr & LCR_DLAB)
		return s->dll;
	if (!s->rx_count)
		return 0;
	return shift(s->rx, &s->rx_count);
}

static uint64_t read_ier(struct uart *u)
{
	return u->st.lcr & LCR_DLAB ? u->st.dlm : u->st.ier;
}

/* Reading the THR-empty cause, and only then, acknowledges it. */
static uint64_t read_iir(struct uart *u)
{
	uint8_t c = cause(&u->st);

	if (c == IIR_THRE)
		u->st.thre_pending = 0;
	return c | (u->st.fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint64_t read_lcr(struct uart *u)
{
	return u->st.lcr;
}

static uint64_t read_mcr(struct uart *u)
{
	return u->st.mcr;
}

static uint64_t read_lsr(struct uart *u)
{
	struct uart_state *s = &u->st;
	uint8_t v = s->lsr_errors;

	s->lsr_errors = 0;
	if (s->rx_count)
		v |= LSR_READY;
	if (!s->tx_count)
		v |= LSR_THRE | LSR_IDLE;
	return v;
}

static uint64_t read_msr(struct uart *u)
{
	uint8_t v = modem_lines(u->st.mcr) | u->st.msr_delta;

	u->st.msr_delta = 0;
	return v;
}

static uint64_t read_scr(struct uart *u)
{
	return u->st.scr;
}

static void write_thr(struct uart *u, uint8_t v)
{
	struct uart_state *s = &u->st;

	if (s->lcr & LCR_DLAB) {
		s->dll = v;
		return;
	}
	s->thre_pending = 0;
	update_irq(u);
	if (s->mcr & MCR_LOOP) {
		receive(s, v);
		s->thre_pending = !s->tx_count;
		return;
	}
	if (s->tx_count == fifo_bytes(s)) {
		u->lost++;
		return;
	}
	s->tx[s->tx_count++] = v;
	transmit(u);
}

static void write_ier(struct uart *u, uint8_t v)
{
	struct uart_state *s = &u->st;

	if (s->lcr & LCR_DLAB) {
		s->dlm = v;
		return;
	}
	/* Enabling it while THR is empty raises it at once: drivers test that,
	 * and start to send by it. */
	if ((v & ~s->ier & IER_THRE) && !s->tx_count)
		s->thre_pending = 1;
	s->ier = v & IER_ALL;
}

static void write_fcr(struct uart *u, uint8_t v)
{
	struct uart_state *s = &u->st;

	/* The other bits count only together with ENABLE; changing ENABLE
	 * clears both FIFOs. */
	if (!(v & FCR_ENABLE))
		v = 0;
	if ((v ^ s->fcr) & FCR_ENABLE)
		v |= FCR_CLEAR_RX | FCR_CLEAR_TX;
	if (v & FCR_CLEAR_RX)
		clear_rx(s);
	if (v & FCR_CLEAR_TX)
		clear_tx(s);
	s->fcr = v & FCR_KEPT;
}

/* A break (bit 6) and the frame's format have nobody to reach. */
static void write_lcr(struct uart *u, uint8_t v)
{
	u->st.lcr = v;
}

static void write_mcr(struct uart *u, uint8_t v)
{
	struct uart_state *s = &u->st;
	uint8_t was = modem_lines(s->mcr), is = modem_lines(v);
	uint8_t changed = was ^ is;

	/* The ring indicator counts only when it goes away. */
	if (is & MSR_RING)
		changed &= (uint8_t)~MSR_RING;
	s->msr_delta |= changed >> 4;
	s->mcr = v & MCR_ALL;
}

static void write_nothing(struct uart *u, uint8_t v)
{
}

static void write_scr(struct uart *u, uint8_t v)
{
	u->st.scr = v;
}

static const struct {
	uint64_t (*read)(struct uart *u);
	void (*write)(struct uart *u, uint8_t v);
} port[UART_PORTS] = {
	[RBR_THR] = { read_rbr, write_thr },
	[IER] = { read_ier, write_ier },
	[IIR_FCR] = { read_iir, write_fcr },
	[LCR] = { read_lcr, write_lcr },
	[MCR] = { read_mcr, write_mcr },
	[LSR] = { read_lsr, write_nothing },
	[MSR] = { read_msr, write_nothing },
	[SCR] = { read_scr, write_scr },
};

/* How much input fits; none in loopback, where the pin is disconnected, so
 * that it waits in the console instead of being lost. */
static unsigned room(const struct uart_state *s)
{
	unsigned cap = fifo_bytes(s);

	if (s->mcr & MCR_LOOP || s->rx_count > cap)
		return 0;
	return cap - s->rx_count;
}

static uint64_t uart_read(struct device *d, uint64_t off, unsigned len)
{
	struct uart *u = uart_of(d);
	unsigned before = room(&u->st);
	uint64_t v = port[off].read(u);

	update_irq(u);
	if (room(&u->st) > before)
		console_pull(u->con);
	return v;
}

static void uart_write(struct device *d, uint64_t off, unsigned len, uint64_t v)
{
	struct uart *u = uart_of(d);
	unsigned before = room(&u->st);

	port[off].write(u, (uint8_t)v);
	update_irq(u);
	if (room(&u->st) > before)
		console_pull(u->con);
}

static void uart_reset(struct device *d)
{
	struct uart *u = uart_of(d);

	u->st = (struct uart_state){ .dll = POWER_ON_DIVISOR };
	update_irq(u);
}

static bool zero_beyond(const uint8_t fifo[UART_FIFO_BYTES], unsigned count)
{
	while (count < UART_FIFO_BYTES)
		if (fifo[count++])
			return false;
	return true;
}

static bool plausible(const struct uart_state *s)
{
	if ((s->ier & ~IER_ALL) || (s->mcr & ~MCR_ALL) ||
	    (s->fcr & ~FCR_KEPT) || (s->lsr_errors & ~LSR_OVERRUN) ||
	    (s->msr_delta & ~MSR_DELTAS) || s->thre_pending > 1)
		return false;
	if (s->fcr && !(s->fcr & FCR_ENABLE))
		return false;
	if (s->rx_count > fifo_bytes(s) || s->tx_count > fifo_bytes(s))
		return false;
	if (s->tx_count && s->thre_pending)
		return false;
	return zero_beyond(s->rx, s->rx_count) &&
	       zero_beyond(s->tx, s->tx_count);
}

static int uart_restored(struct device *d)
{
	struct uart *u = uart_of(d);

	if (!plausible(&u->st)) {
		uart_reset(d);
		return -EINVAL;
	}
	irq_assume(&u->irq, asks(u));
	return 0;
}

/* What the console has for us, or room for, waits there until resume. */
static int uart_quiesce(struct device *d)
{
	uart_of(d)->quiet = true;
	return 0;
}

/* The console of a restored machine never refused us: it would not call. */
static void uart_resume(struct device *d)
{
	struct uart *u = uart_of(d);

	u->quiet = false;
	transmit(u);
	update_irq(u);
	console_pull(u->con);
}

static const struct device_ops uart_ops = {
	.type = "16550a",
	.state = &uart_desc,
	.regs = uart_regs,
	.nregs = ARRAY_SIZE(uart_regs),
	.reset = uart_reset,
	.read = uart_read,
	.write = uart_write,
	.quiesce = uart_quiesce,
	.resume = uart_resume,
	.restored = uart_restored,
};

static size_t guest_input(struct console_guest *g, const uint8_t *data,
			  size_t len)
{
	struct uart *u = container_of(g, struct uart, guest);
	_locked_(&u->dev.lock);

	if (u->quiet)
		return 0;
	len = MIN(len, room(&u->st));
	for (size_t i = 0; i < len; i++)
		receive(&u->st, data[i]);
	update_irq(u);
	return len;
}

static void guest_writable(struct console_guest *g)
{
	struct uart *u = container_of(g, struct uart, guest);
	_locked_(&u->dev.lock);

	if (u->quiet)
		return;
	transmit(u);
	update_irq(u);
}

void uart_init(struct uart *u, const char *name, struct irq irq,
	       struct console *con)
{
	*u = (struct uart){
		.irq = irq,
		.con = con,
		.guest = { guest_input, guest_writable },
	};
	device_init(&u->dev, &uart_ops, name, &u->st);
	uart_reset(&u->dev);
	console_connect(con, &u->guest);
}
