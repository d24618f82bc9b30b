/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87, SSE and AVX registers, MXCSR and the control word live on across exits.
 * All at CPL 3; the compiler uses none of them.
 */
#include "exact.h"

#define ROUNDS	     150
#define CR0_MP	     (1u << 1)
#define CR0_EM	     (1u << 2)
#define CR0_TS	     (1u << 3)
#define CR4_OSFXSR   (1u << 9)
#define CR4_OSXMM    (1u << 10)
#define CR4_OSXSAVE  (1u << 18)
#define HAS_XSAVE    (1u << 26)
#define HAS_AVX	     (1u << 28)
#define MXCSR_PLAIN  0x1f80
#define X87_PLAIN    0x37f
#define VECTOR_WORDS 4

static uint64_t in[16][VECTOR_WORDS] __attribute__((aligned(32)));
static uint64_t out[16][VECTOR_WORDS] __attribute__((aligned(32)));
static uint64_t no_xsetbv;

static void on_undefined(struct trap_frame *f)
{
	no_xsetbv++;
	f->rip += 3;
}

static uint64_t enable(uint64_t xsave, uint64_t avx, uint64_t c)
{
	uint64_t cr0, cr4;

	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	cr0 = (cr0 | CR0_MP) & ~(uint64_t)(CR0_EM | CR0_TS);
	__asm__ volatile("mov %0, %%cr0" ::"r"(cr0));
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	cr4 |= CR4_OSFXSR | CR4_OSXMM | (xsave ? CR4_OSXSAVE : 0);
	__asm__ volatile("mov %0, %%cr4" ::"r"(cr4));
	mark_cpl0(cr4);
	if (avx)
		__asm__ volatile(".byte 0x0f, 0x01, 0xd1" ::"a"(7), "d"(0),
				 "c"(0)); /* xsetbv */
	return 0;
}

#define EACH(x)                                                                \
	x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11) x(12)    \
	    x(13) x(14) x(15)
#define SSE_LOAD(n)                                                            \
	__asm__ volatile("movdqu %0, %%xmm" #n ::"m"(in[n][0]) : "memory");
#define SSE_STORE(n)                                                           \
	__asm__ volatile("movdqu %%xmm" #n ", %0"                              \
			 : "=m"(out[n][0])::"memor"                            \
					    "y");
#define AVX_LOAD(n)                                                            \
	__asm__ volatile("vmovdqu %0, %%ymm" #n ::"m"(in[n][0]) : "memory");
#define AVX_STORE(n)                                                           \
	__asm__ volatile("vmovdqu %%ymm" #n ", %0"                             \
			 : "=m"(out[n][0])::"memor"                            \
					    "y");

static void load(bool avx)
{
	if (avx) {
		EACH(AVX_LOAD)
	} else {
		EACH(SSE_LOAD)
	}
}

static void store(bool avx)
{
	if (avx) {
		EACH(AVX_STORE)
	} else {
		EACH(SSE_STORE)
	}
}

static void control(uint32_t mxcsr, uint16_t cw, uint64_t number)
{
	__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
	__asm__ volatile("fninit\n\tfldcw %0" ::"m"(cw));
	__asm__ volatile("fildll %0\n\tfld1" ::"m"(number));
}

static void check_control(uint32_t mxcsr, uint16_t cw, uint64_t number)
{
	uint64_t sum = 0;
	uint32_t m = 0;
	uint16_t w = 0;

	__asm__ volatile("stmxcsr %0" : "=m"(m));
	__asm__ volatile("fnstcw %0" : "=m"(w));
	__asm__ volatile("faddp\n\tfistpll %0" : "=m"(sum));
	expect("MXCSR", m, mxcsr);
	expect("control word", w, cw);
	expect("x87 sum", sum, number + 1);
}

static void fill(uint64_t seed)
{
	for (unsigned i = 0; i < 16; i++)
		for (unsigned j = 0; j < VECTOR_WORDS; j++)
			in[i][j] = fold(seed, i * VECTOR_WORDS + j);
}

int guest_main(void)
{
	uint32_t ecx = cpuid_get(1, 0).ecx;
	bool avx = (ecx & HAS_XSAVE) && (ecx & HAS_AVX);
	uint64_t hash = 0;

	trap_set_handler(6, on_undefined);
	at_cpl0(enable, ecx & HAS_XSAVE, avx, 0);
	avx = avx && !no_xsetbv;
	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint32_t mxcsr = MXCSR_PLAIN | (uint32_t)(i % 4) << 13;
		uint16_t cw = X87_PLAIN | (uint16_t)((i % 4) << 10);

		fill(i);
		load(avx);
		control(mxcsr, cw, i);
		mark(i);
		mark(i << 8);
		check_control(mxcsr, cw, i);
		store(avx);
		for (unsigned j = 0; j < 16; j++)
			for (unsigned k = 0; k < (avx ? 4 : 2); k++) {
				expect("vector register", out[j][k], in[j][k]);
				hash = fold(hash, out[j][k]);
			}
		mark(hash);
	}
	print("vector: %s\n", avx ? "AVX" : "SSE");
	return exact_end("vector", hash);
}
