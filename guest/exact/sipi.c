/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INIT and SIPI of a second CPU, again and again, with exits between the two
 * and while the CPU starts: it counts in real mode and sleeps.
 */
#include "exact.h"

#define ROUNDS	   60
#define START_PAGE 0x19000
#define COUNT	   (*(volatile uint32_t *)(START_PAGE + 0x800))
#define ICR_INIT   0x4500
#define ICR_SIPI   0x4600

extern const char ap_code[], ap_code_end[];
__asm__(".section .rodata\n"
	".code16\n"
	"ap_code:\n"
	"cli\n\t"
	"mov %cs, %ax\n\t"
	"mov %ax, %ds\n\t"
	"mov $0x1e0, %dx\n\t" /* EXACT_PORT */
	"mov $0x51b1, %eax\n\t"
	"out %eax, %dx\n\t"
	"incl 0x800\n\t"
	"mov 0x800, %eax\n\t"
	"out %eax, %dx\n"
	"1: hlt\n\t"
	"jmp 1b\n"
	"ap_code_end:\n"
	".code64\n"
	".text\n");

int guest_main(void)
{
	uint64_t hash = 0;

	memcpy((void *)START_PAGE, ap_code, (size_t)(ap_code_end - ap_code));
	lapic_init();
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		mark(i);
		lapic_send(boot_apic_id(1), ICR_INIT);
		mark(i << 8);
		lapic_send(boot_apic_id(1), ICR_SIPI | START_PAGE >> 12);
		mark(i << 16);
		while (COUNT < i)
			cpu_relax();
		expect("starts", COUNT, i);
		hash = fold(hash, COUNT);
	}
	return exact_end("sipi", hash);
}
