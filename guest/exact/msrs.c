/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSRs that a guest may write: each takes legal values and gives them back,
 * exits in between. One that this CPU lacks raises #GP, which is part of the
 * hash.
 */
#include "exact.h"

#define ROUNDS 6

static uint64_t refused, hash;

static void on_gp(struct trap_frame *f)
{
	refused++;
	f->rip += 2; /* rdmsr, wrmsr */
}

static const struct {
	uint32_t msr;
	uint64_t value[2];
} msrs[] = {
	{ 0x174, { 0x10, 0x18 } },	 /* SYSENTER_CS */
	{ 0x175, { 0x123450, 0x7ff0 } }, /* SYSENTER_ESP */
	{ 0x176, { 0x123400, 0x8880 } }, /* SYSENTER_EIP */
	{ 0x277, { 0x0007040600070406, 0x0007010600070106 } }, /* PAT */
	{ 0x200, { 0x80000006, 0x40000001 } },	/* MTRR physbase 0 */
	{ 0x201, { 0xc0000800, 0x0 } },		/* physmask 0 */
	{ 0x20e, { 0xc0000000, 0x0 } },		/* physbase 7 */
	{ 0x20f, { 0xe0000800, 0x0 } },		/* physmask 7 */
	{ 0x250, { 0x0606060606060606, 0x0 } }, /* fix 64K */
	{ 0x258, { 0x0606060606060606, 0x0 } }, /* fix 16K */
	{ 0x259, { 0x0505050505050505, 0x0 } },
	{ 0x268, { 0x0606060606060606, 0x0 } }, /* fix 4K */
	{ 0x26b, { 0x0101010101010101, 0x0 } },
	{ 0x26f, { 0x0606060606060606, 0x0 } },
	{ 0x2ff, { 0xc06, 0x806 } }, /* MTRR default type */
	{ 0xc0000081, { 0x0023001000000000, 0x001b000800000000 } }, /* STAR */
	{ 0xc0000082, { 0x123456, 0x100000 } },			    /* LSTAR */
	{ 0xc0000083, { 0x123458, 0x100008 } },			    /* CSTAR */
	{ 0xc0000084, { 0x47700, 0x200 } },			    /* FMASK */
	{ 0xc0000102, { 0x12345678, 0x1000 } }, /* KERNEL_GS_BASE */
	{ 0xc0000100, { 0x1234500, 0x2000 } },	/* FS_BASE */
	{ 0xc0000101, { 0x1234600, 0x3000 } },	/* GS_BASE */
	{ 0xc0000103, { 7, 1 } },		/* TSC_AUX */
	{ 0x1a0, { 1, 0 } },			/* MISC_ENABLE */
	{ 0x1d9, { 1, 0 } },			/* DEBUGCTL */
	{ 0x17a, { 0, 0 } },			/* MCG_STATUS */
	{ 0x48, { 1, 0 } },			/* SPEC_CTRL */
	{ 0x140, { 1, 0 } },			/* MISC_FEATURES_ENABLES */
	{ 0xda0, { 0, 0 } },			/* XSS */
};
#define NMSRS (sizeof(msrs) / sizeof(*msrs))

static uint64_t was[NMSRS];
static bool absent[NMSRS];

static void look(void)
{
	for (unsigned i = 0; i < NMSRS; i++) {
		refused = 0;
		was[i] = msr_read(msrs[i].msr);
		absent[i] = refused;
		hash = fold(hash, absent[i]);
		mark(i << 1 | absent[i]);
	}
}

static void write_all(unsigned round)
{
	for (unsigned i = 0; i < NMSRS; i++) {
		if (absent[i])
			continue;
		refused = 0;
		msr_write(msrs[i].msr, msrs[i].value[round & 1]);
		absent[i] = refused; /* read-only, or not this bit */
		mark(i << 4 | round);
	}
}

/* What is read is what was written, in each round the same: some CPUs keep
 * less than all bits. */
static void read_all(unsigned round)
{
	for (unsigned i = 0; i < NMSRS; i++) {
		uint64_t v;

		if (absent[i])
			continue;
		v = msr_read(msrs[i].msr);
		mark(v);
		hash = fold(hash, v ^ msrs[i].value[round & 1]);
	}
}

int guest_main(void)
{
	trap_set_handler(13, on_gp);
	look();
	for (unsigned i = 0; i < ROUNDS; i++) {
		write_all(i);
		read_all(i);
	}
	for (unsigned i = 0; i < NMSRS; i++)
		if (!absent[i])
			msr_write(msrs[i].msr, was[i]);
	return exact_end("msrs", hash);
}
