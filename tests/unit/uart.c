/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every register of the 16550A, by the data sheet, and by what Linux's 8250
 * driver tries at boot. The console is a toy: it takes what `room` allows.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "bus.h"
#include "uart.h"
#include "util.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

#define OUT2 0x08
#define LOOP 0x10
#define DLAB 0x80

static struct {
	char sent[1024];
	size_t nsent, room;
	unsigned pulls;
	struct console_guest *guest;
} con;

/* In place of vmm/console.c, which is not linked then. */
void console_connect(struct console *c, struct console_guest *g)
{
	con.guest = g;
}

bool console_put(struct console *c, uint8_t byte)
{
	if (!con.room)
		return false;
	con.room--;
	con.sent[con.nsent++ % sizeof(con.sent)] = (char)byte;
	return true;
}

void console_pull(struct console *c)
{
	con.pulls++;
}

static struct bus bus;
static struct uart u;

static uint8_t in(unsigned port)
{
	uint8_t v;

	bus_read(&bus, port, &v, 1);
	return v;
}

static void out(unsigned port, uint8_t v)
{
	bus_write(&bus, port, &v, 1);
}

static size_t type(const char *s)
{
	return con.guest->input(con.guest, (const uint8_t *)s, strlen(s));
}

static void setup(void)
{
	struct irq irq;

	irq_init(&irq, -1, 4);
	con.room = sizeof(con.sent);
	bus_init(&bus, "pio");
	uart_init(&u, "uart0", irq, NULL);
	cr_assert_eq(bus_add(&bus, 0, UART_PORTS, &u.dev), 0);
}

TestSuite(uart, .init = setup);

Test(uart, reset_registers_read_as_the_data_sheet_says)
{
	cr_assert_eq(in(DATA), 0);
	cr_assert_eq(in(IER), 0);
	cr_assert_eq(in(IIR), 0x01);
	cr_assert_eq(in(LCR), 0);
	cr_assert_eq(in(MCR), 0);
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(in(MSR), 0xb0);
	cr_assert_eq(in(SCR), 0);
	cr_assert(!u.irq.level);
}

Test(uart, only_byte_accesses_are_taken)
{
	uint32_t v = 0;

	bus_read(&bus, DATA, &v, 2);
	cr_assert_eq(v, 0xffff);
	bus_write(&bus, DATA, &v, 4);
	cr_assert_eq(con.nsent, 0);
	cr_assert_eq(u.dev.refused, 2);
}

Test(uart, scratch_and_lcr_keep_what_is_written)
{
	for (unsigned v = 0; v < 256; v++) {
		out(SCR, (uint8_t)v);
		cr_assert_eq(in(SCR), v);
		out(LCR, (uint8_t)v);
		cr_assert_eq(in(LCR), v);
	}
}

Test(uart, reserved_bits_of_ier_and_mcr_read_zero)
{
	out(IER, 0xff);
	cr_assert_eq(in(IER), 0x0f);
	out(MCR, 0xff);
	cr_assert_eq(in(MCR), 0x1f);
}

Test(uart, lsr_and_msr_ignore_writes)
{
	out(LSR, 0xff);
	out(MSR, 0xff);
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(in(MSR), 0xb0);
}

Test(uart, dlab_turns_the_first_two_ports_into_the_divisor)
{
	out(IER, 0x05);
	out(LCR, DLAB);
	out(DATA, 0x34);
	out(IER, 0x12);
	cr_assert_eq(in(DATA), 0x34);
	cr_assert_eq(in(IER), 0x12);
	out(LCR, 0x03);
	cr_assert_eq(in(IER), 0x05);
	cr_assert_eq(con.nsent, 0);
	cr_assert_eq(in(DATA), 0);
}

Test(uart, transmit_reaches_the_console_in_order)
{
	out(DATA, 'o');
	out(DATA, 'k');
	cr_assert_eq(con.nsent, 2);
	cr_assert_arr_eq(con.sent, "ok", 2);
	cr_assert_eq(in(LSR), 0x60);
}

Test(uart, refused_byte_is_kept_and_thre_is_low_until_writable)
{
	con.room = 0;
	out(DATA, 'x');
	cr_assert_eq(in(LSR)&0x60, 0);
	con.room = 10;
	con.guest->writable(con.guest);
	cr_assert_eq(con.nsent, 1);
	cr_assert_eq(con.sent[0], 'x');
	cr_assert_eq(in(LSR)&0x60, 0x60);
}

Test(uart, writable_that_helps_only_in_part_keeps_the_rest)
{
	out(FCR, 0x01);
	con.room = 0;
	for (char c = 'a'; c < 'e'; c++)
		out(DATA, (uint8_t)c);
	con.room = 3;
	con.guest->writable(con.guest);
	cr_assert_eq(in(LSR)&0x60, 0);
	con.room = 3;
	con.guest->writable(con.guest);
	cr_assert_eq(in(LSR)&0x60, 0x60);
	cr_assert_arr_eq(con.sent, "abcd", 4);
	cr_assert_eq(con.nsent, 4);
}

Test(uart, burst_of_a_whole_fifo_survives_a_full_console)
{
	out(FCR, 0x01);
	con.room = 2;
	for (int i = 0; i < 16; i++)
		out(DATA, (uint8_t)('a' + i));
	con.room = 100;
	con.guest->writable(con.guest);
	cr_assert_eq(con.nsent, 16);
	cr_assert_arr_eq(con.sent, "abcdefghijklmnop", 16);
	cr_assert_eq(u.lost, 0);
}

Test(uart, byte_written_against_a_full_transmitter_is_lost_and_counted)
{
	con.room = 0;
	out(DATA, 'a');
	out(DATA, 'b');
	cr_assert_eq(u.lost, 1);
	con.room = 9;
	con.guest->writable(con.guest);
	cr_assert_eq(con.nsent, 1);
	cr_assert_eq(con.sent[0], 'a');
}

Test(uart, spurious_writable_does_nothing)
{
	out(IER, 0x02);
	in(IIR);
	con.guest->writable(con.guest);
	cr_assert_eq(in(IIR), 0x01);
}

Test(uart, receive_without_fifo_takes_one_byte_at_a_time)
{
	cr_assert_eq(type("ab"), 1);
	cr_assert_eq(in(LSR), 0x61);
	cr_assert_eq(type("b"), 0);
	cr_assert_eq(in(DATA), 'a');
	cr_assert_eq(con.pulls, 1);
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(type("b"), 1);
	cr_assert_eq(in(DATA), 'b');
}

Test(uart, receive_fifo_takes_sixteen)
{
	out(FCR, 0x01);
	cr_assert_eq(type("0123456789abcdefg"), 16);
	cr_assert_eq(type("g"), 0);
	for (int i = 0; i < 16; i++)
		cr_assert_eq(in(DATA), "0123456789abcdef"[i]);
	cr_assert_eq(in(LSR)&0x01, 0);
	cr_assert_eq(in(LSR)&0x02, 0);
}

Test(uart, trigger_level_tells_data_from_timeout)
{
	static const unsigned level[] = { 1, 4, 8, 14 };

	out(IER, 0x01);
	out(MCR, OUT2);
	for (unsigned t = 0; t < 4; t++) {
		out(FCR, (uint8_t)(0x03 | t << 6));
		for (unsigned n = 1; n <= 16; n++) {
			uint8_t want = n >= level[t] ? 0xc4 : 0xcc;

			cr_assert_eq(type("x"), 1);
			cr_assert_eq(in(IIR), want, "%u of %u", n, level[t]);
			cr_assert(u.irq.level);
		}
	}
}

Test(uart, receive_interrupt_falls_when_all_is_read)
{
	out(IER, 0x01);
	out(MCR, OUT2);
	type("a");
	cr_assert_eq(in(IIR), 0x04);
	cr_assert(u.irq.level);
	in(DATA);
	cr_assert_eq(in(IIR), 0x01);
	cr_assert(!u.irq.level);
}

Test(uart, thre_interrupt_rises_when_enabled_and_falls_when_read)
{
	out(MCR, OUT2);
	out(IER, 0x02);
	cr_assert(u.irq.level);
	cr_assert_eq(in(IIR), 0x02);
	cr_assert(!u.irq.level);
	cr_assert_eq(in(IIR), 0x01);
	out(IER, 0x02); /* no edge */
	cr_assert_eq(in(IIR), 0x01);
	out(IER, 0x00);
	out(IER, 0x02);
	cr_assert_eq(in(IIR), 0x02);
}

Test(uart, thre_interrupt_pulses_with_each_byte_sent)
{
	uint64_t before;

	out(MCR, OUT2);
	out(IER, 0x02);
	before = u.irq.raised;
	out(DATA, 'a'); /* pending already: it falls and rises */
	cr_assert_eq(u.irq.raised, before + 1);
	cr_assert(u.irq.level);
	in(IIR);
	out(DATA, 'b');
	cr_assert_eq(u.irq.raised, before + 2);
	cr_assert_eq(in(IIR), 0x02);
}

Test(uart, thre_interrupt_waits_while_the_console_refuses)
{
	out(MCR, OUT2);
	out(IER, 0x02);
	in(IIR);
	con.room = 0;
	out(DATA, 'a');
	cr_assert(!u.irq.level);
	cr_assert_eq(in(IIR), 0x01);
	out(IER, 0x00);
	out(IER, 0x02); /* not empty: enabling does not raise it */
	cr_assert(!u.irq.level);
	con.room = 1;
	con.guest->writable(con.guest);
	cr_assert(u.irq.level);
	cr_assert_eq(in(IIR), 0x02);
}

Test(uart, iir_that_reports_another_cause_keeps_thre_pending)
{
	out(IER, 0x03);
	type("x");
	cr_assert_eq(in(IIR), 0x04);
	cr_assert_eq(in(IIR), 0x04);
	in(DATA);
	cr_assert_eq(in(IIR), 0x02);
}

Test(uart, causes_come_by_priority)
{
	out(FCR, 0x01);
	out(MCR, LOOP);
	out(IER, 0x0f);
	for (int i = 0; i < 17; i++)
		out(DATA, 'x'); /* overrun */
	out(MCR, LOOP | 0x01);	/* DSR changes */
	cr_assert_eq(in(IIR), 0xc6);
	cr_assert_eq(in(LSR), 0x63);
	cr_assert_eq(in(IIR), 0xc4);
	out(FCR, 0x03);
	cr_assert_eq(in(IIR), 0xc2);
	cr_assert_eq(in(IIR), 0xc0);
	in(MSR);
	cr_assert_eq(in(IIR), 0xc1);
}

Test(uart, out2_connects_the_interrupt)
{
	out(IER, 0x02);
	cr_assert(!u.irq.level);
	out(MCR, OUT2);
	cr_assert(u.irq.level);
	out(MCR, OUT2 | LOOP);
	cr_assert(!u.irq.level);
	out(MCR, 0);
	cr_assert(!u.irq.level);
}

Test(uart, iir_tells_whether_fifos_are_on)
{
	cr_assert_eq(in(IIR), 0x01);
	out(FCR, 0xc0); /* without bit 0 the rest does not count */
	cr_assert_eq(in(IIR), 0x01);
	cr_assert_eq(u.st.fcr, 0);
	out(FCR, 0x01);
	cr_assert_eq(in(IIR), 0xc1);
}

Test(uart, fifo_clear_bits_clear_one_side_each)
{
	out(FCR, 0x01);
	con.room = 0;
	type("abc");
	out(DATA, 'x');
	out(FCR, 0x03);
	cr_assert_eq(in(LSR), 0x00);
	type("abc");
	out(FCR, 0x05);
	cr_assert_eq(in(LSR), 0x61);
	cr_assert_eq(con.pulls, 2);
	con.room = 9;
	con.guest->writable(con.guest);
	cr_assert_eq(con.nsent, 0);
}

Test(uart, switching_fifos_clears_both)
{
	out(FCR, 0x01);
	type("abc");
	con.room = 0;
	out(DATA, 'x');
	out(FCR, 0x00);
	cr_assert_eq(in(LSR), 0x60);
	type("a");
	out(FCR, 0x01);
	cr_assert_eq(in(LSR), 0x60);
}

Test(uart, loopback_sends_to_itself_and_not_to_the_console)
{
	out(MCR, LOOP);
	out(DATA, 'z');
	cr_assert_eq(in(LSR), 0x61);
	cr_assert_eq(in(DATA), 'z');
	cr_assert_eq(con.nsent, 0);
}

Test(uart, loopback_while_the_console_refuses_leaves_thre_low)
{
	con.room = 0;
	out(DATA, 'x');
	out(IER, 0x02);
	out(MCR, LOOP);
	out(DATA, 'y');
	cr_assert_eq(in(LSR), 0x01);
	cr_assert_eq(in(IIR), 0x01);
	cr_assert_eq(u.dev.ops->restored(&u.dev), 0);
	cr_assert_eq(in(DATA), 'y');
	con.room = 9;
	con.guest->writable(con.guest);
	cr_assert_eq(con.nsent, 1);
	cr_assert_eq(con.sent[0], 'x');
}

Test(uart, cleared_fifo_leaves_no_trace_in_the_state)
{
	struct uart_state want;

	out(FCR, 0x01);
	want = u.st;
	type("secret");
	con.room = 0;
	out(DATA, 'x');
	out(FCR, 0x07);
	want.thre_pending = 1;
	cr_assert_eq(state_diff(u.dev.ops->state, &want, &u.st, NULL, NULL), 0);
}

Test(uart, loopback_leaves_input_in_the_console)
{
	out(MCR, LOOP);
	cr_assert_eq(type("a"), 0);
	out(MCR, 0);
	cr_assert_eq(con.pulls, 1);
	cr_assert_eq(type("a"), 1);
}

Test(uart, loopback_shows_the_outputs_as_modem_lines)
{
	static const uint8_t want[16] = {
		0x00, 0x20, 0x10, 0x30, 0x40, 0x60, 0x50, 0x70,
		0x80, 0xa0, 0x90, 0xb0, 0xc0, 0xe0, 0xd0, 0xf0,
	};

	for (unsigned v = 0; v < 16; v++) {
		out(MCR, (uint8_t)(LOOP | v));
		cr_assert_eq(in(MSR)&0xf0, want[v]);
	}
}

Test(uart, overrun_without_fifo_overwrites_and_is_told_once)
{
	out(MCR, LOOP);
	out(DATA, 'a');
	out(DATA, 'b');
	cr_assert_eq(in(LSR), 0x63);
	cr_assert_eq(in(LSR), 0x61);
	cr_assert_eq(in(DATA), 'b');
}

Test(uart, overrun_with_fifo_keeps_the_older_bytes)
{
	out(FCR, 0x01);
	out(MCR, LOOP);
	for (int i = 0; i < 17; i++)
		out(DATA, (uint8_t)('a' + i));
	cr_assert_eq(in(LSR), 0x63);
	for (int i = 0; i < 16; i++)
		cr_assert_eq(in(DATA), 'a' + i);
	cr_assert_eq(in(LSR), 0x60);
}

Test(uart, msr_deltas_are_set_by_changes_and_cleared_by_reading)
{
	in(MSR);
	out(MCR, LOOP); /* DCD, DSR and CTS go away; ring was not there */
	cr_assert_eq(in(MSR), 0x0b);
	cr_assert_eq(in(MSR), 0x00);
	out(MCR, LOOP | 0x04); /* ring comes: no delta */
	cr_assert_eq(in(MSR), 0x40);
	out(MCR, LOOP); /* and goes */
	cr_assert_eq(in(MSR), 0x04);
	out(MCR, LOOP | 0x02);
	cr_assert_eq(in(MSR), 0x11);
}

Test(uart, modem_interrupt_when_enabled)
{
	out(IER, 0x08);
	out(MCR, LOOP);
	out(MCR, OUT2);
	cr_assert_eq(in(IIR), 0x00);
	cr_assert(u.irq.level);
	in(MSR);
	cr_assert_eq(in(IIR), 0x01);
	cr_assert(!u.irq.level);
}

Test(uart, break_is_kept_in_lcr_and_disturbs_nothing)
{
	out(LCR, 0x43);
	out(DATA, 'x');
	cr_assert_eq(con.nsent, 1);
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(in(LCR), 0x43);
}

/* drivers/tty/serial/8250/8250_port.c, autoconfig: what it expects of a
 * 16550A. */
Test(uart, linux_autoconfig_finds_a_16550a)
{
	unsigned n = 0;

	out(IER, 0);
	cr_assert_eq(in(IER), 0);
	out(IER, 0x0f);
	cr_assert_eq(in(IER), 0x0f);
	out(IER, 0);
	out(MCR, LOOP | 0x0a);
	cr_assert_eq(in(MSR)&0xf0, 0x90);
	out(MCR, 0);
	out(LCR, 0xbf);
	out(FCR, 0);
	out(LCR, 0);
	out(FCR, 0x01);
	cr_assert_eq(in(IIR) >> 6, 3);
	out(LCR, DLAB);
	cr_assert_neq(in(IIR), 0); /* no EFR: not a 16650 */
	out(LCR, 0);
	out(FCR, 0x21);
	cr_assert_eq(in(IIR) >> 5, 6); /* no 64-byte FIFO */
	out(IER, 0x40);
	cr_assert_eq(in(IER)&0x40, 0); /* not an XScale */
	out(FCR, 0x07);
	out(MCR, LOOP);
	for (int i = 0; i < 256; i++)
		out(DATA, (uint8_t)i);
	while ((in(LSR)&0x01) && n < 256) {
		in(DATA);
		n++;
	}
	cr_assert_eq(n, 16);
	cr_assert_eq(con.nsent, 0);
}

/* The same file's start-up: does enabling the THR-empty interrupt twice raise
 * it twice? */
Test(uart, linux_startup_finds_the_thre_interrupt_reliable)
{
	out(IER, 0x02);
	cr_assert_eq(in(IIR)&0x0f, 0x02);
	out(IER, 0);
	out(IER, 0x02);
	cr_assert_eq(in(IIR)&0x01, 0);
	out(IER, 0);
	out(MCR, OUT2);
	out(IER, 0x02);
	cr_assert_eq(in(LSR)&0x40, 0x40);
	cr_assert_eq(in(IIR)&0x01, 0);
}

Test(uart, reset_forgets_everything_and_drops_the_line)
{
	struct uart_state fresh = u.st;

	out(MCR, OUT2);
	out(IER, 0x0f);
	out(FCR, 0xc1);
	type("abc");
	con.room = 0;
	out(DATA, 'x');
	cr_assert(u.irq.level);
	u.dev.ops->reset(&u.dev);
	cr_assert(!u.irq.level);
	cr_assert_eq(state_diff(u.dev.ops->state, &fresh, &u.st, NULL, NULL),
		     0);
}

Test(uart, restored_with_thre_pending_raises_the_line_again)
{
	struct uart_state saved;
	struct irq irq;

	out(MCR, OUT2);
	out(IER, 0x02);
	saved = u.st;
	irq_init(&irq, -1, 4);
	uart_init(&u, "uart0", irq, NULL);
	u.st = saved;
	cr_assert_eq(u.dev.ops->restored(&u.dev), 0);
	cr_assert(u.irq.level);
	cr_assert_eq(in(IIR), 0x02);
}

Test(uart, restored_with_unsent_bytes_sends_them_on_resume)
{
	out(FCR, 0x01);
	con.room = 0;
	out(DATA, 'h');
	out(DATA, 'i');
	cr_assert_eq(u.dev.ops->restored(&u.dev), 0);
	cr_assert_eq(u.st.tx_count, 2);
	con.room = 9;
	con.pulls = 0;
	u.dev.ops->resume(&u.dev);
	cr_assert_arr_eq(con.sent, "hi", 2);
	cr_assert_eq(con.pulls, 1);
}

Test(uart, quiesced_takes_no_input_and_sends_nothing_until_resumed)
{
	unsigned pulls = con.pulls;

	out(FCR, 1);
	con.room = 0;
	out(DATA, 'a');
	cr_assert_eq(u.dev.ops->quiesce(&u.dev), 0);
	con.room = 1;
	cr_assert_eq(type("x"), 0);
	con.guest->writable(con.guest);
	cr_assert_eq(u.st.rx_count, 0);
	cr_assert_eq(u.st.tx_count, 1);
	u.dev.ops->resume(&u.dev);
	cr_assert_eq(u.st.tx_count, 0);
	cr_assert_gt(con.pulls, pulls);
	cr_assert_eq(type("x"), 1);
}

Test(uart, restored_refuses_what_no_uart_can_be)
{
	static const struct {
		const char *what;
		struct uart_state st;
	} bad[] = {
		{ "rx without fifo", { .rx_count = 2 } },
		{ "rx too many", { .fcr = 1, .rx_count = 17 } },
		{ "tx too many", { .fcr = 1, .tx_count = 255 } },
		{ "rx beyond", { .rx = { 0, 1 } } },
		{ "tx beyond", { .tx = { 1 } } },
		{ "ier", { .ier = 0x10 } },
		{ "fcr clear bit", { .fcr = 0x03 } },
		{ "fcr not enabled", { .fcr = 0xc0 } },
		{ "mcr", { .mcr = 0x20 } },
		{ "lsr", { .lsr_errors = 0x04 } },
		{ "msr", { .msr_delta = 0x10 } },
		{ "pending", { .thre_pending = 2 } },
		{ "pending while full", { .tx_count = 1, .thre_pending = 1 } },
	};
	struct uart_state fresh = u.st;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		u.st = bad[i].st;
		cr_expect_eq(u.dev.ops->restored(&u.dev), -EINVAL, "%s",
			     bad[i].what);
		cr_expect_eq(
		    state_diff(u.dev.ops->state, &fresh, &u.st, NULL, NULL), 0,
		    "%s", bad[i].what);
	}
}
