/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs on /dev/kvm without a machine around them: a few bytes of 32-bit code
 * in RAM, a toy device on both buses. What must hold at every stop: the access
 * that was half way is complete before anybody reads the state.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "bus.h"
#include "gmem.h"
#include "kvm.h"
#include "platform.h"
#include "util.h"
#include "vcpu.h"

#define CODE	 0x2000
#define TOY_PORT 0x10
#define TOY_MMIO 0xd0000000

struct toy {
	struct device dev;
	_Atomic uint64_t reads, writes; /* seen by the test meanwhile */
	uint64_t last[8];		/* the newest writes, newest last */
	unsigned len[8];
	struct vcpu *park_on_access; /* asked to park by the access itself */
};

struct bench {
	struct guest_events events;
	struct gmem ram;
	struct bus pio, mmio;
	struct toy toy;
	struct vcpu_shared shared;
	struct vcpu vcpu;
	struct fail why;
	int vm;
	_Atomic int told; /* the event + 1 */
};

static struct bench b;

static void on_event(struct guest_events *e, enum guest_event what,
		     uint32_t value)
{
	atomic_store(&b.told, (int)what + 1);
}

static void toy_touched(struct toy *t)
{
	if (t->park_on_access)
		vcpu_request_park(t->park_on_access);
}

static uint64_t toy_read(struct device *d, uint64_t off, unsigned len)
{
	struct toy *t = container_of(d, struct toy, dev);

	toy_touched(t);
	return 0x40 + t->reads++;
}

static void toy_write(struct device *d, uint64_t off, unsigned len, uint64_t v)
{
	struct toy *t = container_of(d, struct toy, dev);

	memmove(t->last, t->last + 1, sizeof(t->last) - sizeof(t->last[0]));
	memmove(t->len, t->len + 1, sizeof(t->len) - sizeof(t->len[0]));
	t->last[7] = v;
	t->len[7] = len;
	t->writes++;
	toy_touched(t);
}

static const struct reg toy_regs[] = {
	{ 0, 0x2000, REG_1 | REG_2 | REG_4 | REG_8, REG_RW, "all" },
};
static const struct device_ops toy_ops = {
	.type = "toy",
	.regs = toy_regs,
	.nregs = ARRAY_SIZE(toy_regs),
	.read = toy_read,
	.write = toy_write,
};

static void set_slot(void)
{
	struct kvm_userspace_memory_region slot = {
		.memory_size = b.ram.bytes,
		.userspace_addr = (uint64_t)(uintptr_t)gmem_borrow(
		    &b.ram, GPA(0), b.ram.bytes),
	};

	cr_assert_eq(kvm_set_user_memory_region(b.vm, &slot), 0);
}

static void start(const void *code, size_t len)
{
	const struct boot_entry entry = { .protocol = BOOT_PVH,
					  .rip = CODE,
					  .params = 0x1234 };
	struct gmem_region region[GMEM_MAX_REGIONS];
	int kvm = kvm_open(&b.why);

	if (kvm < 0)
		cr_skip_test("%s: %s", b.why.object, b.why.message);
	b.events.raise = on_event;
	cr_assert_eq(gmem_layout(MIB(2), 0, region), 1);
	cr_assert_eq(gmem_init(&b.ram, region, 1), 0);
	bus_init(&b.pio, "pio");
	bus_init(&b.mmio, "mmio");
	device_init(&b.toy.dev, &toy_ops, "toy0", NULL);
	cr_assert_eq(bus_add(&b.pio, TOY_PORT, 8, &b.toy.dev), 0);
	cr_assert_eq(bus_add(&b.mmio, TOY_MMIO, 0x2000, &b.toy.dev), 0);
	b.vm = kvm_create_vm(kvm);
	cr_assert(b.vm >= 0);
	set_slot();
	cr_assert_eq(kvm_create_irqchip(b.vm), 0);
	b.shared = (struct vcpu_shared){
		.kvm_fd = kvm,
		.vm_fd = b.vm,
		.pio = &b.pio,
		.mmio = &b.mmio,
		.events = &b.events,
		.cpus = 1,
	};
	cr_assert_eq(vcpu_shared_init(&b.shared, &b.why), 0, "%s",
		     b.why.message);
	cr_assert_eq(vcpu_init(&b.vcpu, &b.shared, 0, &b.why), 0, "%s",
		     b.why.message);
	cr_assert_eq(gmem_write(&b.ram, GPA(CODE), code, len), 0);
	cr_assert_eq(vcpu_enter_at(&b.vcpu, &entry, &b.why), 0, "%s",
		     b.why.message);
	cr_assert_eq(vcpu_start(&b.vcpu), 0);
}

static void stop(void)
{
	vcpu_request_park(&b.vcpu);
	vcpu_wait_parked(&b.vcpu);
	vcpu_fini(&b.vcpu);
	vcpu_shared_fini(&b.shared);
	gmem_fini(&b.ram);
}

static struct kvm_regs regs(void)
{
	struct kvm_regs r;

	cr_assert_eq(kvm_get_regs(b.vcpu.fd, &r), 0);
	return r;
}

Test(vcpu, park_of_a_spinning_guest_ends_and_resumes)
{
	/* inc eax; jmp -3 */
	static const uint8_t spin[] = { 0x40, 0xeb, 0xfd };
	uint64_t before;

	start(spin, sizeof(spin));
	for (int i = 0; i < 200; i++) {
		vcpu_unpark(&b.vcpu);
		vcpu_request_park(&b.vcpu);
		vcpu_wait_parked(&b.vcpu);
	}
	before = regs().rax;
	vcpu_unpark(&b.vcpu);
	do { /* until it has come on; a hang here is the failure */
		vcpu_request_park(&b.vcpu);
		vcpu_wait_parked(&b.vcpu);
		if (regs().rax != before)
			break;
		vcpu_unpark(&b.vcpu);
	} while (true);
	stop();
}

Test(vcpu, park_inside_an_in_completes_it)
{
	/* in al, TOY_PORT; jmp $ */
	static const uint8_t code[] = { 0xe4, TOY_PORT, 0xeb, 0xfe };

	start(code, sizeof(code));
	b.toy.park_on_access = &b.vcpu;
	vcpu_unpark(&b.vcpu);
	while (!b.toy.reads)
		;
	vcpu_wait_parked(&b.vcpu);
	cr_assert_eq(regs().rax & 0xff, 0x40);
	cr_assert_eq(regs().rip, CODE + 2);
	cr_assert_eq(b.toy.reads, 1);
	stop();
}

Test(vcpu, park_inside_a_page_crossing_mmio_write_completes_both_parts)
{
	/* mov eax, 0x44332211; mov [TOY_MMIO + 0xffe], eax; jmp $ */
	static const uint8_t code[] = { 0xb8, 0x11, 0x22, 0x33, 0x44, 0xa3,
					0xfe, 0x0f, 0x00, 0xd0, 0xeb, 0xfe };

	start(code, sizeof(code));
	b.toy.park_on_access = &b.vcpu;
	vcpu_unpark(&b.vcpu);
	while (!b.toy.writes)
		;
	vcpu_wait_parked(&b.vcpu);
	cr_assert_eq(regs().rip, CODE + 10);
	cr_assert_eq(b.toy.writes, 2);
	cr_assert_eq(b.toy.last[6], 0x2211);
	cr_assert_eq(b.toy.last[7], 0x4433);
	stop();
}

Test(vcpu, string_io_moves_every_element)
{
	/* mov esi, CODE+0x100; mov ecx, 4; mov dx, TOY_PORT; rep outsw;
	 * mov edi, CODE+0x200; mov ecx, 4; rep insb; jmp $ */
	static const uint8_t code[] = { 0xbe,	  0x00, 0x21, 0x00, 0x00, 0xb9,
					0x04,	  0x00, 0x00, 0x00, 0x66, 0xba,
					TOY_PORT, 0x00, 0xf3, 0x66, 0x6f, 0xbf,
					0x00,	  0x22, 0x00, 0x00, 0xb9, 0x04,
					0x00,	  0x00, 0x00, 0xf3, 0x6c, 0xeb,
					0xfe };
	static const uint16_t out[] = { 0x1111, 0x2222, 0x3333, 0x4444 };
	static const uint8_t want[] = { 0x40, 0x41, 0x42, 0x43 };
	uint8_t in[4];

	start(code, sizeof(code));
	cr_assert_eq(gmem_write(&b.ram, GPA(CODE + 0x100), out, sizeof(out)),
		     0);
	vcpu_unpark(&b.vcpu);
	while (b.toy.reads < 4)
		;
	vcpu_request_park(&b.vcpu);
	vcpu_wait_parked(&b.vcpu);
	cr_assert_eq(b.toy.writes, 4);
	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(b.toy.last[4 + i], out[i]);
		cr_assert_eq(b.toy.len[4 + i], 2);
	}
	cr_assert_eq(gmem_read(&b.ram, GPA(CODE + 0x200), in, 4), 0);
	cr_assert_arr_eq(in, want, 4);
	stop();
}

static void wait_told(enum guest_event want)
{
	while (!atomic_load(&b.told))
		;
	cr_assert_eq(atomic_load(&b.told), (int)want + 1);
	vcpu_wait_parked(&b.vcpu);
}

Test(vcpu, triple_fault_is_told_and_parks)
{
	/* ud2 with an empty IDT */
	static const uint8_t code[] = { 0x0f, 0x0b };

	start(code, sizeof(code));
	vcpu_unpark(&b.vcpu);
	wait_told(GUEST_TRIPLE_FAULT);
	stop();
}

Test(vcpu, reset_after_a_triple_fault_runs_again)
{
	static const uint8_t code[] = { 0x0f, 0x0b };
	static const uint8_t in[] = { 0xe4, TOY_PORT, 0xeb, 0xfe };
	const struct boot_entry entry = { .protocol = BOOT_PVH, .rip = CODE };

	start(code, sizeof(code));
	vcpu_unpark(&b.vcpu);
	wait_told(GUEST_TRIPLE_FAULT);
	cr_assert_eq(vcpu_reset(&b.vcpu, &b.why), 0, "%s", b.why.message);
	cr_assert_eq(regs().rip, 0xfff0);
	cr_assert_eq(gmem_write(&b.ram, GPA(CODE), in, sizeof(in)), 0);
	cr_assert_eq(vcpu_enter_at(&b.vcpu, &entry, &b.why), 0);
	vcpu_unpark(&b.vcpu);
	while (!b.toy.reads)
		;
	stop();
}

Test(vcpu, reset_gives_the_registers_of_power_on)
{
	/* mov ebx, 7; mov dr0, ebx; fld1; in al, TOY_PORT; jmp $ */
	static const uint8_t code[] = { 0xbb, 0x07, 0,	  0,	0,    0x0f,
					0x23, 0xc3, 0xe4, 0x10, 0xeb, 0xfe };
	struct kvm_debugregs d0, d1, d2;
	struct kvm_sregs s0, s2;
	struct kvm_regs r0, r2;

	start(code, sizeof(code));
	cr_assert_eq(vcpu_reset(&b.vcpu, &b.why), 0, "%s", b.why.message);
	r0 = regs();
	cr_assert_eq(kvm_get_sregs(b.vcpu.fd, &s0), 0);
	cr_assert_eq(kvm_get_debugregs(b.vcpu.fd, &d0), 0);
	cr_assert_eq(vcpu_enter_at(&b.vcpu,
				   &(struct boot_entry){ .protocol = BOOT_PVH,
							 .rip = CODE },
				   &b.why),
		     0);
	vcpu_unpark(&b.vcpu);
	while (!b.toy.reads)
		;
	vcpu_request_park(&b.vcpu);
	vcpu_wait_parked(&b.vcpu);
	cr_assert_eq(kvm_get_debugregs(b.vcpu.fd, &d1), 0);
	cr_assert_eq(d1.db[0], 7);
	cr_assert_eq(vcpu_reset(&b.vcpu, &b.why), 0, "%s", b.why.message);
	r2 = regs();
	cr_assert_eq(kvm_get_sregs(b.vcpu.fd, &s2), 0);
	cr_assert_eq(kvm_get_debugregs(b.vcpu.fd, &d2), 0);
	cr_assert_arr_eq((char *)&r0, (char *)&r2, sizeof(r0));
	cr_assert_arr_eq((char *)&s0, (char *)&s2, sizeof(s0));
	cr_assert_arr_eq((char *)&d0, (char *)&d2, sizeof(d0));
	stop();
}

Test(vcpu, pvh_entry_passes_its_parameter_in_ebx)
{
	/* mov [CODE + 0x100], ebx; in al, TOY_PORT; jmp $ */
	static const uint8_t code[] = { 0x89, 0x1d, 0x00, 0x21, 0,
					0,    0xe4, 0x10, 0xeb, 0xfe };
	uint32_t got = 0;

	start(code, sizeof(code));
	vcpu_unpark(&b.vcpu);
	while (!b.toy.reads)
		;
	cr_assert_eq(gmem_read(&b.ram, GPA(CODE + 0x100), &got, 4), 0);
	cr_assert_eq(got, 0x1234);
	stop();
}

static uint64_t msr(uint32_t index)
{
	_cleanup_free_ struct kvm_msrs *m =
	    calloc(1, sizeof(*m) + sizeof(m->entries[0]));

	m->nmsrs = 1;
	m->entries[0].index = index;
	cr_assert_eq(kvm_get_msrs(b.vcpu.fd, m), 1, "MSR %x", index);
	return m->entries[0].data;
}

static void set_msr(uint32_t index, uint64_t data)
{
	_cleanup_free_ struct kvm_msrs *m =
	    calloc(1, sizeof(*m) + sizeof(m->entries[0]));

	m->nmsrs = 1;
	m->entries[0].index = index;
	m->entries[0].data = data;
	cr_assert_eq(kvm_set_msrs(b.vcpu.fd, m), 1, "MSR %x", index);
}

/* Some that KVM lists and some that it does not. */
Test(vcpu, reset_gives_the_msrs_of_power_on)
{
	static const struct {
		uint32_t index;
		uint64_t data;
	} set[] = {
		{ 0x174, 0x10 },	       /* SYSENTER_CS */
		{ 0x277, 0 },		       /* PAT */
		{ 0xc0000082, 0x1000 },	       /* LSTAR */
		{ 0x200, 0x80000000 },	       /* MTRR_PHYSBASE0 */
		{ 0x20e, 0x80000006 },	       /* MTRR_PHYSBASE7 */
		{ 0x250, 0x0606060606060606 }, /* MTRR_FIX64K */
		{ 0x26f, 0x0606060606060606 }, /* MTRR_FIX4K_F8000 */
		{ 0x2ff, 0xc00 },	       /* MTRR_DEF_TYPE */
	};
	static const uint8_t code[] = { 0xf4 };
	uint64_t before[ARRAY_SIZE(set)];

	start(code, sizeof(code));
	for (unsigned i = 0; i < ARRAY_SIZE(set); i++) {
		before[i] = msr(set[i].index);
		set_msr(set[i].index, set[i].data);
		cr_assert_eq(msr(set[i].index), set[i].data);
	}
	cr_assert_eq(vcpu_reset(&b.vcpu, &b.why), 0, "%s", b.why.message);
	for (unsigned i = 0; i < ARRAY_SIZE(set); i++)
		cr_expect_eq(msr(set[i].index), before[i], "MSR %x is %lx",
			     set[i].index, msr(set[i].index));
	stop();
}

Test(vcpu, msr_that_kvm_refuses_is_named_with_its_value)
{
	static const uint8_t code[] = { 0xf4 };
	static struct vcpu_state s;

	start(code, sizeof(code));
	s = *b.vcpu.power_on;
	s.msrs.n = 1;
	s.msrs.index[0] = 0xc0000080; /* EFER: KVM knows no such bit */
	s.msrs.value[0] = 0x8000000000000000;
	cr_assert_eq(vcpu_state_set(&b.vcpu.kvm, &s, &b.why), -EIO);
	cr_assert_str_eq(b.why.message,
			 "KVM refuses MSR 0xc0000080 = 0x8000000000000000");
	stop();
}
