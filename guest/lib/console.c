/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console on a 16550: output polled, a FIFO at a time; input by interrupt
 * into a ring, from which nothing is dropped silently while it has room.
 * Registers: National Semiconductor PC16550D data sheet.
 */
#include <stdarg.h>

#include "cpl0.h"
#include "cpu.h"

enum { UART_DATA, UART_IER, UART_FCR, UART_LCR, UART_MCR, UART_LSR };
#define LSR_DATA    0x01
#define LSR_THRE    0x20
#define LSR_TEMT    0x40
#define MCR_LINE    0x0b /* DTR, RTS, OUT2: lets interrupts out */
#define MCR_LOOP    0x10
#define FIFO_BYTES  16
#define RING_BYTES  1024 /* a power of two */
#define PRINT_BYTES 160
#define CTRL_C	    3

static struct {
	struct spinlock lock; /* guards the transmitter among CPUs */
	uint32_t ready;
	volatile uint64_t broken; /* how far it was taken at the last Ctrl-C */
	volatile uint64_t taken;  /* bytes ever put into the ring */
	uint64_t given;
	uint8_t ring[RING_BYTES];
} console GUEST_VOLATILE;

static uint8_t uart_in(unsigned reg)
{
	return cpl0_inb((uint16_t)(PLATFORM_UART_PORT + reg));
}

static void uart_out(unsigned reg, uint8_t v)
{
	cpl0_outb((uint16_t)(PLATFORM_UART_PORT + reg), v);
}

/* Runs with interrupts off on the CPU that takes the UART's interrupt. */
static void console_take(void)
{
	uint8_t c;

	while (uart_in(UART_LSR) & LSR_DATA) {
		c = uart_in(UART_DATA);
		if (console.taken - console.given < RING_BYTES)
			console.ring[console.taken++ % RING_BYTES] = c;
		if (c == CTRL_C)
			console.broken = console.taken;
	}
}

/* Turning the FIFOs on empties them: what came early is taken first, and in
 * loopback nothing more comes; what was said early has to be out. */
static void console_init_cpl0(void)
{
	if (console.ready)
		return;
	console.ready = 1;
	while (!(uart_in(UART_LSR) & LSR_TEMT))
		cpu_relax();
	uart_out(UART_MCR, MCR_LINE | MCR_LOOP);
	console_take();
	uart_out(UART_FCR, 1);
	uart_out(UART_LCR, 3);	      /* 8 bits, no parity */
	uart_out(UART_MCR, MCR_LINE); /* and the loop off */
}

void console_write_cpl0(const char *s, size_t n)
{
	size_t part;

	spin_lock(&console.lock);
	console_init_cpl0();
	while (n) {
		while (!(uart_in(UART_LSR) & LSR_THRE))
			cpu_relax();
		part = n < FIFO_BYTES ? n : FIFO_BYTES;
		n -= part;
		__asm__ volatile("rep outsb"
				 : "+S"(s), "+c"(part)
				 : "d"(PLATFORM_UART_PORT)
				 : "memory");
	}
	spin_unlock(&console.lock);
}

static uint64_t put_cpl0(uint64_t s, uint64_t n, uint64_t c)
{
	console_write_cpl0((const char *)s, n);
	return 0;
}

void put_raw(const char *s, size_t n)
{
	at_cpl0(put_cpl0, (uint64_t)s, n, 0);
}

/* ---- formatting ---- */

struct printer {
	char buf[PRINT_BYTES];
	size_t used;
};

static void printer_flush(struct printer *p)
{
	if (p->used)
		put_raw(p->buf, p->used);
	p->used = 0;
}

static void printer_char(struct printer *p, char c)
{
	if (p->used > sizeof(p->buf) - 2)
		printer_flush(p);
	if (c == '\n')
		p->buf[p->used++] = '\r';
	p->buf[p->used++] = c;
}

static void printer_number(struct printer *p, uint64_t v, unsigned base,
			   unsigned width, char fill)
{
	char digits[20];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (width-- > n && width < sizeof(p->buf))
		printer_char(p, fill);
	while (n)
		printer_char(p, digits[--n]);
}

static void printer_string(struct printer *p, const char *s, unsigned width)
{
	size_t n = 0;

	for (; s[n]; n++)
		printer_char(p, s[n]);
	for (; n < width; n++)
		printer_char(p, ' ');
}

/* One directive, after its '%'; returns what follows it. */
static const char *printer_directive(struct printer *p, const char *f,
				     va_list *ap)
{
	char fill = *f == '0' ? '0' : ' ';
	unsigned width = 0;
	bool wide = false;
	int64_t v;

	for (; *f >= '0' && *f <= '9'; f++)
		width = width * 10 + (unsigned)(*f - '0');
	for (; *f == 'l' || *f == 'z'; f++)
		wide = true;
	switch (*f) {
	case 's':
		printer_string(p, va_arg(*ap, const char *), width);
		break;
	case 'c':
		printer_char(p, (char)va_arg(*ap, int));
		break;
	case 'd':
		v = wide ? va_arg(*ap, int64_t) : va_arg(*ap, int32_t);
		if (v < 0)
			printer_char(p, '-');
		printer_number(p, v < 0 ? -(uint64_t)v : (uint64_t)v, 10, width,
			       fill);
		break;
	case 'u':
	case 'x':
		printer_number(
		    p, wide ? va_arg(*ap, uint64_t) : va_arg(*ap, uint32_t),
		    *f == 'x' ? 16 : 10, width, fill);
		break;
	default:
		printer_char(p, *f);
	}
	return *f ? f + 1 : f;
}

void print(const char *fmt, ...)
{
	struct printer p;
	va_list ap;

	p.used = 0;
	va_start(ap, fmt);
	while (*fmt) {
		if (*fmt != '%')
			printer_char(&p, *fmt++);
		else
			fmt = printer_directive(&p, fmt + 1, &ap);
	}
	va_end(ap);
	printer_flush(&p);
}

void put(const char *s, size_t n)
{
	struct printer p;

	p.used = 0;
	while (n--)
		printer_char(&p, *s++);
	printer_flush(&p);
}

/* ---- input ---- */

static uint64_t console_listen_cpl0(uint64_t a, uint64_t b, uint64_t c)
{
	console_init_cpl0();
	uart_out(UART_IER, 0x01); /* received data */
	console_take();
	return 0;
}

void console_listen(void)
{
	lapic_init();
	irq_set_handler(VECTOR_UART, console_take);
	ioapic_route(PLATFORM_UART_GSI, VECTOR_UART, false);
	at_cpl0(console_listen_cpl0, 0, 0, 0);
}

int console_get(void)
{
	irq_wait_change(&console.taken, console.given);
	return console.ring[console.given++ % RING_BYTES];
}

bool console_break(void)
{
	uint64_t broken = console.broken;

	if (broken <= console.given)
		return false;
	console.given = broken;
	return true;
}
