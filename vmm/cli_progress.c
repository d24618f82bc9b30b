/* SPDX-License-Identifier: Apache-2.0 */
/* How far a verb is, and whether it is to stop. */
#include "cli_progress.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "util.h"

#define SECOND_NS UINT64_C(1000000000)

static volatile sig_atomic_t cancelled;

static void on_signal(int sig)
{
	cancelled = 1;
}

/*
 * Who ignores a signal wants us to (nohup, a shell's background). A second
 * Ctrl-C ends an impatient user's verb at once; the others may come twice for
 * one wish: timeout(1) signals its child, and then the group the child is in.
 */
static void catch (int sig)
{
	struct sigaction old,
	    new = { .sa_handler = on_signal,
		    .sa_flags =
			SA_RESTART | (sig == SIGINT ? SA_RESETHAND : 0) };

	if (sigaction(sig, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
		sigaction(sig, &new, NULL);
}

static int set_mode(struct cli_progress *p, const struct options *o,
		    struct fail *why)
{
	static const char *const names[] = { "auto", "plain", "json", "none" };
	const struct option_use *use = options_find(o, "progress");
	char object[sizeof(why->object)];

	p->mode = PROGRESS_AUTO;
	for (unsigned i = 0; use && i < ARRAY_SIZE(names); i++) {
		if (strcmp(use->value, names[i]))
			continue;
		p->mode = (enum progress_mode)i;
		use = NULL;
	}
	if (use) {
		snprintf(object, sizeof(object), "--progress %s", use->value);
		return fail_set(why, EXIT_USAGE, -EINVAL, object,
				"use auto, plain, json or none", "not a mode");
	}
	if (p->mode == PROGRESS_AUTO && !isatty(STDERR_FILENO))
		p->mode = PROGRESS_NONE;
	return 0;
}

int cli_progress_begin(struct cli_progress *p, const struct options *o,
		       const char *what, struct fail *why)
{
	*p = (struct cli_progress){ .what = what };
	p->next_ns = now_ns() + SECOND_NS;
	catch (SIGINT);
	catch (SIGTERM);
	catch (SIGHUP);
	return set_mode(p, o, why);
}

static void show(struct cli_progress *p, uint64_t done, uint64_t of)
{
	char size[CLI_SIZE_TEXT], words[64] = "...", what[256];

	snprintf(what, sizeof(what), "%s", p->what);
	cli_clean(what);
	cli_size_text(size, of);
	if (of)
		snprintf(words, sizeof(words), "%d %% of %s",
			 (int)((double)done * 100 / (double)of), size);
	switch (p->mode) {
	case PROGRESS_AUTO:
		fprintf(stderr, "\r\033[K%s: %s", what, words);
		p->shown = true;
		break;
	case PROGRESS_PLAIN:
		fprintf(stderr, "tintype: %s: %s\n", what, words);
		break;
	case PROGRESS_JSON:
		fprintf(stderr, "{\"done\":%" PRIu64 ",\"of\":%" PRIu64 "}\n",
			done, of);
		break;
	case PROGRESS_NONE:
		break;
	}
}

int cli_progress_tell(void *progress, uint64_t done, uint64_t of)
{
	struct cli_progress *p = progress;
	uint64_t now = p->mode == PROGRESS_NONE ? 0 : now_ns();

	if (now >= p->next_ns) {
		show(p, done, of);
		p->next_ns = now + SECOND_NS;
	}
	return cancelled;
}

void cli_progress_end(struct cli_progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}

int cli_cancelled(const char *object, struct fail *why)
{
	return cancelled ? fail_set(why, EXIT_CANCELLED, -ECANCELED, object,
				    NULL, "cancelled")
			 : 0;
}
