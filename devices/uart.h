/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A serial port: 8 byte-wide ports, FIFOs of 16 bytes, loopback, modem
 * status, interrupts. Source: National Semiconductor, PC16550D data sheet,
 * sections 6 to 8 (register names and bits are its own).
 *
 * Its line is infinitely fast: a character takes no time, whatever the divisor
 * says. So the transmitter is empty again as soon as the console has taken the
 * byte (it is full while the console refuses: nothing is lost), and the
 * receiver's timeout of four character times has always passed already.
 *
 * Owner: registers are read and written by any vCPU thread through the bus;
 * the console calls `guest` on the I/O thread. All of it under dev.lock.
 */
#ifndef TINTYPE_UART_H
#define TINTYPE_UART_H

#include "console.h"
#include "device.h"
#include "irq.h"

#define UART_PORTS	8
#define UART_FIFO_BYTES 16

struct uart_state {
	uint8_t rx[UART_FIFO_BYTES]; /* oldest first; 0 beyond rx_count */
	uint8_t tx[UART_FIFO_BYTES]; /* what the console has not taken */
	uint8_t rx_count, tx_count;
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t lsr_errors;   /* LSR bits that a read clears: overrun */
	uint8_t msr_delta;    /* MSR bits 0-3 */
	uint8_t thre_pending; /* 1: the THR-empty interrupt was not seen yet */
};

struct uart {
	struct device dev;
	struct uart_state st;
	struct irq irq;
	struct console *con;
	struct console_guest guest;
	bool quiet;    /* quiesced: the host changes nothing */
	uint64_t lost; /* bytes written while the transmitter was full */
};

/* Reset, and connected to `con`, which outlives it. `irq` is its line, edge or
 * level, active high. */
void uart_init(struct uart *u, const char *name, struct irq irq,
	       struct console *con);

#endif
