/* SPDX-License-Identifier: Apache-2.0 */
/* The programs, each with its class and the machine that it wants. */
#include <assert.h>
#include <string.h>

#include "exact.h"
#include "util.h"

#define TRACE(g) .guest = g, .trace = true
#define FINAL(g) .guest = g

const struct exact_case exact_cases[] = {
	{ .name = "code", TRACE("code") },
	{ .name = "crossing", TRACE("crossing") },
	{ .name = "debug", TRACE("debug") },
	{ .name = "faults", TRACE("faults") },
	{ .name = "halt", TRACE("halt") },
	{ .name = "ioapic",
	  TRACE("ioapic"),
	  .moment_finding = "a level's remote IRR is sometimes not there" },
	{ .name = "lapic", TRACE("lapic") },
	{ .name = "msrs", TRACE("msrs") },
	{ .name = "pages", TRACE("pages") },
	{ .name = "pic", TRACE("pic"), .reads_irr = true },
	{ .name = "ports", TRACE("ports") },
	{ .name = "segments", TRACE("segments") },
	{ .name = "shadow", TRACE("shadow") },
	{ .name = "step", TRACE("step") },
	{ .name = "strings", TRACE("strings") },
	{ .name = "uart", TRACE("uart") },
	{ .name = "vector", TRACE("vector") },
	{ .name = "x2apic", TRACE("x2apic") },
	{ .name = "slots",
	  TRACE("high"),
	  .cmdline = "high=0",
	  .memory = MIB(24),
	  .region_max = MIB(4) },
	{ .name = "high",
	  TRACE("high"),
	  .memory = GIB(3) + MIB(32),
	  .region_max = GIB(1) },
	{ .name = "periodic", FINAL("timers"), .cmdline = "mode=0" },
	{ .name = "oneshot", FINAL("timers"), .cmdline = "mode=1" },
	{ .name = "deadline", FINAL("timers"), .cmdline = "mode=2" },
	/* between which two instructions an NMI comes is the host's choice */
	{ .name = "nmi", FINAL("nmi") },
	{ .name = "pvclock", FINAL("pvclock") },
	{ .name = "ipi", FINAL("ipi"), .cpus = 2 },
	{ .name = "sipi", FINAL("sipi"), .cpus = 2 },
	{ .name = "locks", FINAL("locks"), .cpus = 3 },
	{ .name = "rng", FINAL("rng"), .rng = true },
	{ .name = "balloon", FINAL("balloon"), .balloon = true },
	{ .name = "blk", FINAL("blk"), .disk = true },
	{ .name = "net", FINAL("net"), .net = true },
	{ .name = "vsock",
	  FINAL("vsock"),
	  .vsock = true,
	  .stride = 30,
	  .finding = "a guest whose connections were reset sometimes sleeps "
		     "for good",
	  .ram_varies = true },
};
const unsigned exact_ncases = ARRAY_SIZE(exact_cases);
static_assert(ARRAY_SIZE(exact_cases) <= EXACT_MAX_CASES, "room for all");

const struct exact_case *exact_find(const char *name)
{
	for (unsigned i = 0; i < exact_ncases; i++)
		if (!strcmp(exact_cases[i].name, name))
			return &exact_cases[i];
	return NULL;
}

const char *const exact_part_names[PARTS] = {
	[PART_EXIT] = "exits",
	[PART_MP_STATE] = "MP state",
	[PART_REGS] = "registers",
	[PART_SREGS] = "segments and control registers",
	[PART_XSAVE] = "vector registers",
	[PART_XCRS] = "XCR0",
	[PART_DEBUGREGS] = "debug registers",
	[PART_LAPIC] = "local APIC",
	[PART_EVENTS] = "events",
	[PART_MSRS] = "MSRs",
	[PART_PIC] = "PICs",
	[PART_IOAPIC] = "IOAPIC",
	[PART_DEVICES] = "devices",
	[PART_RAM] = "RAM",
};

#define NOT_STOPPED "no exit to user space in that moment here"

const struct exact_moment_row exact_moments[MOMENTS] = {
	[SEEN_TIMER_ARMED] = { "timer armed", "" },
	[SEEN_TIMER_EXPIRED] = { "timer expired, not taken", "" },
	[SEEN_IRQ_PENDING] = { "interrupt requested", "" },
	[SEEN_IRQ_IN_SERVICE] = { "interrupt in service", "" },
	[SEEN_IRQ_INJECTED] = { "interrupt being injected", NOT_STOPPED },
	[SEEN_NMI_PENDING] = { "NMI pending", NOT_STOPPED },
	[SEEN_NMI_MASKED] = { "NMI masked", "" },
	[SEEN_WAIT_FOR_SIPI] = { "CPU between INIT and SIPI", "" },
	[SEEN_HALTED] = { "CPU halted", "" },
	[SEEN_EXCEPTION] = { "exception pending or injected", NOT_STOPPED },
	[SEEN_SHADOW_STI] = { "STI shadow", NOT_STOPPED },
	[SEEN_SHADOW_MOV_SS] = { "MOV SS shadow", NOT_STOPPED },
	[SEEN_SINGLE_STEP] = { "single step", "" },
	[SEEN_REP_HALF_WAY] = { "string I/O half way", "" },
	[SEEN_SECOND_EXIT] = { "second exit of one access", "" },
	[SEEN_BREAKPOINT_ARMED] = { "breakpoint armed", "" },
	[SEEN_VECTOR_REGISTERS] = { "vector registers in use", "" },
	[SEEN_REAL_MODE] = { "real mode", "" },
	[SEEN_PVCLOCK] = { "KVM clock in use", "KVM offers none" },
	[SEEN_REMOTE_IRR] = { "level interrupt before its EOI", "" },
	[SEEN_PIC_IN_SERVICE] = { "PIC interrupt before its EOI", "" },
	[SEEN_UART_THRE] = { "transmitter-empty interrupt pending", "" },
	[SEEN_DISK_IN_FLIGHT] = { "disk request in flight", "" },
	[SEEN_NOT_TAKEN] = { "request offered, not taken", "" },
	[SEEN_TSC_DEADLINE] = { "TSC deadline armed", "" },
	[SEEN_GUEST_STOPPED] = { "guest told that it was stopped",
				 "KVM offers no clock" },
	[SEEN_MTRRS] = { "MTRRs in use", "" },
	[SEEN_VSOCK_CONNECTED] = { "vsock connected", "" },
};
