/* SPDX-License-Identifier: Apache-2.0 */
/* `help`, `version` and `completion`: what the program says of itself. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "sandbox.h"
#include "util.h"
#include "verbs.h"
#include "version.h"

int cli_explain(const struct verb_table *t, const char *first,
		const char *second, struct fail *why)
{
	const struct noun *n = first ? noun_find(t, first) : NULL;
	const struct verb *v = first ? verb_find(t, first, second) : NULL;
	char object[sizeof(why->object)];

	if (v && second && !n) {
		snprintf(object, sizeof(object), "help: %s", second);
		fail_set(why, EXIT_USAGE, -EINVAL, object,
			 "see 'tintype help help'", "one operand too many");
		return EXIT_USAGE;
	}
	if (v) {
		verb_print_help(v, stdout);
	} else if (!first) {
		verbs_print_overview(t, stdout);
	} else if (n && !second) {
		noun_print_help(t, n, stdout);
	} else {
		verb_unknown(t, first, second, why);
		return EXIT_USAGE;
	}
	return cli_flush(EXIT_OK, why);
}

int cli_help(const struct options *o, struct fail *why)
{
	return cli_explain(&tintype_verbs,
			   o->noperands > 0 ? o->operand[0] : NULL,
			   o->noperands > 1 ? o->operand[1] : NULL, why);
}

#ifdef __clang__
#define COMPILER __VERSION__ /* names itself */
#else
#define COMPILER "gcc " __VERSION__
#endif

int cli_version(const struct options *o, struct fail *why)
{
	struct sandbox_report r;

	sandbox_report(&r);
	if (options_has(o, "json"))
		return cli_print_json(json_pack("{s:s, s:s, s:b}", "version",
						TINTYPE_VERSION, "compiler",
						COMPILER, "sandboxed",
						(int)r.filters),
				      why);
	printf("tintype %s%s\n", TINTYPE_VERSION,
	       r.filters ? "" : " (instrumented build: VMs are not sandboxed)");
	return cli_flush(EXIT_OK, why);
}

int cli_completion(const struct options *o, struct fail *why)
{
	char object[sizeof(why->object)];

	if (verbs_print_completion(&tintype_verbs, o->operand[0], stdout))
		return cli_flush(EXIT_OK, why);
	snprintf(object, sizeof(object), "completion: %s", o->operand[0]);
	fail_set(why, EXIT_USAGE, -EINVAL, object, "use bash, zsh or fish",
		 "not a shell that we know");
	return EXIT_USAGE;
}
