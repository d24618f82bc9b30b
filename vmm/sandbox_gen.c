/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Build-time tool: writes the policy's filters to stdout as C tables, so that
 * a VM installs a constant and neither links libseccomp nor spends its start
 * on building a filter.
 *
 * Rules are tried in the order of their priority, not as libseccomp's binary
 * tree: the kernel answers calls that are allowed whatever their arguments
 * from a bitmap without running the filter (since 5.11), so that only ioctl,
 * first in the chain, is ever looked up while a guest runs.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox_policy.h"

/* The kernel's BPF_MAXINSNS is 4096; ours stays far below. */
#define GEN_MAX_INSNS 1024

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "sandbox_gen: %s: %s\n", what, strerror(-r));
	exit(1);
}

static void add_rule(scmp_filter_ctx ctx, const struct sandbox_rule *rule)
{
	struct scmp_arg_cmp cmp[SANDBOX_MAX_CONDITIONS];
	unsigned n = 0;

	for (; n < SANDBOX_MAX_CONDITIONS && rule->when[n].arg; n++) {
		const struct sandbox_condition *c = &rule->when[n];
		bool all = c->mask == UINT64_MAX;

		cmp[n] = (struct scmp_arg_cmp){
			.arg = c->arg - 1,
			.op = all ? SCMP_CMP_EQ : SCMP_CMP_MASKED_EQ,
			.datum_a = all ? c->value : c->mask,
			.datum_b = all ? 0 : c->value,
		};
	}
	check(
	    seccomp_rule_add_exact_array(ctx, SCMP_ACT_ALLOW, rule->nr, n, cmp),
	    rule->name);
	check(seccomp_syscall_priority(ctx, rule->nr, rule->priority),
	      rule->name);
}

/* The compiled program, into `insn`; how many instructions. */
static size_t compile(unsigned thread, struct sock_filter *insn)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	FILE *file = tmpfile();
	size_t n;

	if (!ctx || !file)
		check(-ENOMEM, "start");
	check(seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
			       SCMP_ACT_KILL_PROCESS),
	      "other architectures");
	check(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 1), "order");
	for (size_t i = 0; i < sandbox_policy_rules; i++)
		if (sandbox_policy[i].threads & thread)
			add_rule(ctx, &sandbox_policy[i]);
	check(seccomp_export_bpf(ctx, fileno(file)), "export");
	seccomp_release(ctx);
	rewind(file);
	n = fread(insn, sizeof(*insn), GEN_MAX_INSNS, file);
	if (n == 0 || n == GEN_MAX_INSNS || ferror(file))
		check(-EFBIG, "filter");
	fclose(file);
	return n;
}

static void emit(const char *name, unsigned thread)
{
	struct sock_filter insn[GEN_MAX_INSNS];
	size_t n = compile(thread, insn), pids = 0;

	printf("\nstatic const struct sock_filter %s_insn[] = {\n", name);
	for (size_t i = 0; i < n; i++)
		printf("\t{ 0x%02x, %u, %u, 0x%08x },\n", insn[i].code,
		       insn[i].jt, insn[i].jf, insn[i].k);
	printf("};\nstatic const unsigned short %s_pid_at[] = {", name);
	for (size_t i = 0; i < n; i++)
		if (insn[i].k == SANDBOX_PID_MARK)
			pids += (size_t)(printf(" %zu,", i) > 0);
	if (pids == 0)
		check(-ENOENT, "the place of the process id");
	printf(" };\nconst struct sandbox_filter sandbox_filter_%s = {\n"
	       "\t%s_insn, %s_pid_at, %zu, %zu\n};\n",
	       name, name, name, n, pids);
}

int main(void)
{
	printf("/* Made by sandbox_gen from sandbox_policy.c: not to edit. */\n"
	       "#include \"sandbox_filter.h\"\n");
	emit("vcpu", SANDBOX_VCPU);
	emit("writer", SANDBOX_WRITER);
	emit("io", SANDBOX_IO);
	emit("broker", SANDBOX_BROKER);
	return fflush(stdout) ? 1 : 0;
}
