/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on the machine: its ports and addresses, its end, and misbehaviour.
 */
#include "cpl0.h"
#include "demo.h"

#define MAX_PORT  0xffff
#define MAX_ADDR  ((1ull << 46) - 1)
#define FLOOD_MAX (1u << 30)

static int cmd_poweroff(unsigned argc, char **argv)
{
	guest_poweroff();
}

static int cmd_reboot(unsigned argc, char **argv)
{
	guest_reset();
}

static int cmd_exit(unsigned argc, char **argv)
{
	uint64_t code;

	if (!demo_number(argc, argv, 1, 255, 0, &code))
		return DEMO_USAGE;
	guest_exit((uint8_t)code);
}

static int cmd_ready(unsigned argc, char **argv)
{
	guest_ready();
	return 0;
}

static int cmd_echo(unsigned argc, char **argv)
{
	for (unsigned i = 1; i < argc; i++)
		print("%s%s", i > 1 ? " " : "", argv[i]);
	print("\n");
	return 0;
}

/* ---- ports and addresses ---- */

struct access {
	bool port;
	uint64_t addr, bytes, value;
};

/* {mmio|port} ADDR BYTES VALUE */
static bool access_parse(unsigned argc, char **argv, struct access *a)
{
	a->port = !strcmp(argv[1], "port");
	if ((!a->port && strcmp(argv[1], "mmio")) ||
	    !demo_number(argc, argv, 2, a->port ? MAX_PORT : MAX_ADDR, 0,
			 &a->addr) ||
	    !demo_number(argc, argv, 3, a->port ? 4 : 8, 1, &a->bytes) ||
	    !demo_number(argc, argv, 4, UINT64_MAX, 0, &a->value))
		return false;
	if (!a->bytes || (a->bytes & (a->bytes - 1))) {
		print("%s: BYTES is 1, 2, 4 or 8\n", argv[0]);
		return false;
	}
	if (!a->port)
		mem_map(a->addr, a->bytes);
	return true;
}

static int cmd_peek(unsigned argc, char **argv)
{
	struct access a;

	if (!access_parse(argc, argv, &a))
		return DEMO_USAGE;
	if (a.port)
		a.value = port_in((uint16_t)a.addr, (unsigned)a.bytes);
	else
		a.value = mmio_read(a.addr, (unsigned)a.bytes);
	print("%s 0x%lx: 0x%lx\n", argv[1], a.addr, a.value);
	return 0;
}

static int cmd_poke(unsigned argc, char **argv)
{
	struct access a;

	if (!access_parse(argc, argv, &a))
		return DEMO_USAGE;
	if (a.port)
		port_out((uint16_t)a.addr, (unsigned)a.bytes,
			 (uint32_t)a.value);
	else
		mmio_write(a.addr, (unsigned)a.bytes, a.value);
	return 0;
}

/* ---- misbehaviour ---- */

/* Lines of 64 bytes on the wire. */
static int cmd_flood(unsigned argc, char **argv)
{
	uint64_t kib, lines;

	if (!demo_number(argc, argv, 1, FLOOD_MAX, 0, &kib))
		return DEMO_USAGE;
	lines = kib ? kib * 16 : UINT64_MAX;
	for (uint64_t i = 0; i < lines && !console_break(); i++)
		print("flood %056lx\n", i);
	return 0;
}

static int cmd_crash(unsigned argc, char **argv)
{
	if (!strcmp(argv[1], "panic"))
		guest_panic("asked for");
	if (!strcmp(argv[1], "triple"))
		guest_triple_fault();
	if (strcmp(argv[1], "ud"))
		return DEMO_USAGE;
	__asm__ volatile("ud2");
	return DEMO_FAILED;
}

static void __attribute__((noreturn)) spin(void)
{
	for (;;)
		__asm__ volatile("");
}

static uint64_t spin_cpl0(uint64_t a, uint64_t b, uint64_t c)
{
	spin();
}

static int cmd_spin(unsigned argc, char **argv)
{
	bool cpl0 = argc > 1;

	if (cpl0 && strcmp(argv[1], "cpl0"))
		return DEMO_USAGE;
	print("spinning at CPL %u, interrupts off\n", cpl0 ? 0 : 3);
	if (cpl0)
		at_cpl0(spin_cpl0, 0, 0, 0);
	irq_disable();
	spin();
}

static uint64_t halt(uint64_t a, uint64_t b, uint64_t c)
{
	cpl0_halt();
}

static int cmd_halt(unsigned argc, char **argv)
{
	print("halted, interrupts off\n");
	return (int)at_cpl0(halt, 0, 0, 0);
}

const struct command machine_commands[] = {
	{ "echo", "[WORD...]", "print words", cmd_echo, 0, 30, false },
	{ "ready", "", "tell the VMM that the guest is ready", cmd_ready, 0, 0,
	  false },
	{ "peek", "mmio|port ADDR [BYTES]", "read", cmd_peek, 2, 3, false },
	{ "poke", "mmio|port ADDR BYTES VALUE", "write", cmd_poke, 4, 4,
	  false },
	{ "flood", "[KiB]", "print so much, or for ever", cmd_flood, 0, 1,
	  false },
	{ "spin", "[cpl0]", "a loop with interrupts off", cmd_spin, 0, 1,
	  false },
	{ "halt", "", "hlt with interrupts off", cmd_halt, 0, 0, false },
	{ "crash", "panic|triple|ud", "end badly", cmd_crash, 1, 1, false },
	{ "reboot", "", "reset the machine", cmd_reboot, 0, 0, false },
	{ "poweroff", "", "switch it off", cmd_poweroff, 0, 0, false },
	{ "exit", "[CODE]", "end with this exit code", cmd_exit, 0, 1, false },
	{ NULL, NULL, NULL, NULL, 0, 0, false },
};
