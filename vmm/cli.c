/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dispatches a command line to its verb, and tells what failed: one line on
 * stderr, or with --json one object.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/auxv.h>

#include "control.h"
#include "fdio.h"
#include "utf8.h"
#include "util.h"
#include "verbs.h"

#define CALL_TIMEOUT_MS 5000

static bool stdout_closed;

/* A closed stdin, stdout or stderr must not become the VM's files. */
static int hold_standard_fds(void)
{
	stdout_closed = fcntl(STDOUT_FILENO, F_GETFD) < 0;
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return -errno;
	return 0;
}

bool cli_stdout_closed(void)
{
	return stdout_closed;
}

void cli_raise_file_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur >= l.rlim_max)
		return;
	l.rlim_cur = l.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &l); /* else it is as it was */
}

/* What came from elsewhere (a guest's text, a path) cannot steer the
 * terminal, and the message stays on one line. */
void cli_clean(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

/* Not by stdio: a VM's process has closed its sandbox when it ends. */
void cli_say(const char *text)
{
	/* Nobody is left to be told when that fails. */
	if (fd_write(STDERR_FILENO, text, strlen(text)) < 0)
		return;
}

static void print_fail_json(const struct fail *why)
{
	_cleanup_free_ char *text = NULL;
	json_t *doc = json_pack(
	    "{s:s, s:s*, s:s*, s:s*}", "code", fail_code_name(why->code),
	    "message", why->message, "object", why->object, "hint", why->hint);

	text = json_dumps(doc, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(doc);
	if (text)
		cli_say(text);
	cli_say("\n");
}

void cli_print_fail(const struct fail *why, bool json)
{
	char line[sizeof(*why) + 32];

	if (json) {
		print_fail_json(why);
		return;
	}
	snprintf(line, sizeof(line), "tintype: %s%s%s%s%s", why->object,
		 why->object[0] ? ": " : "", why->message,
		 why->hint[0] ? ": " : "", why->hint);
	cli_clean(line);
	strcat(line, "\n");
	cli_say(line);
}

/* Before the options are parsed: failures in them are told as JSON too. */
static bool asks_for_json(int argc, char *const *argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--json"))
			return true;
	return false;
}

static bool asks_for_help(int argc, char *const *argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

static int run_verb(const struct verb *v, int argc, char *const *argv,
		    struct fail *why)
{
	struct options o;

	if (asks_for_help(argc, argv)) {
		verb_print_help(v, stdout);
		return cli_flush(EXIT_OK, why);
	}
	if (verb_parse(v, &o, argc, argv, why))
		return (int)why->code;
	return v->run(&o, why);
}

int cli_dispatch(const struct verb_table *t, const char *first, int argc,
		 char *const *argv, struct fail *why)
{
	const char *second = argc ? argv[0] : NULL;
	const struct noun *n = noun_find(t, first);
	const struct verb *v = verb_find(t, first, second);

	if (v)
		return run_verb(v, n ? argc - 1 : argc, n ? argv + 1 : argv,
				why);
	if (n && !second) {
		noun_print_help(t, n, stderr);
		return EXIT_USAGE;
	}
	if (n && second[0] == '-' && asks_for_help(argc, argv))
		return cli_explain(t, first, NULL, why);
	if (n && !strcmp(second, "help"))
		return cli_explain(t, first, argc > 1 ? argv[1] : NULL, why);
	verb_unknown(t, first, second, why);
	return (int)why->code;
}

/* Else jansson opens /dev/urandom at the first object, which a VM's process
 * may do no more once it is confined. */
static void seed_json(void)
{
	size_t seed = 0;

	if (getauxval(AT_RANDOM))
		memcpy(&seed, (const void *)getauxval(AT_RANDOM), sizeof(seed));
	json_object_seed(seed | 1);
}

int cli_main(int argc, char *const *argv)
{
	struct fail why = { .code = EXIT_OK };
	const char *word = argc > 1 ? argv[1] : NULL;
	int code;

	if (hold_standard_fds()) {
		fprintf(stderr, "tintype: /dev/null: %s\n", strerror(errno));
		return EXIT_FAILED;
	}
	/* A limit on the size of files is a write that fails, not our end. */
	signal(SIGXFSZ, SIG_IGN);
	seed_json();
	if (!word) {
		verbs_print_overview(&tintype_verbs, stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(word, "--help") || !strcmp(word, "-h"))
		word = "help";
	else if (!strcmp(word, "--version") || !strcmp(word, "-V"))
		word = "version";
	code = cli_dispatch(&tintype_verbs, word, argc - 2, argv + 2, &why);
	if (why.message[0])
		cli_print_fail(&why, asks_for_json(argc - 1, argv + 1));
	return code;
}

/* ---- what the verbs share ---- */

int cli_flush(int code, struct fail *why)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	fail_set(why, errno == ENOSPC ? EXIT_NO_SPACE : EXIT_FAILED, -errno,
		 "stdout", NULL, "%s", strerror(errno));
	return (int)why->code;
}

json_t *cli_json_text(const char *text)
{
	_cleanup_free_ char *copy = strdup(text);

	if (!copy)
		return NULL;
	utf8_only(copy);
	return json_string(copy);
}

void cli_print_line(const char *text)
{
	for (; *text; text++) {
		char c[2] = { *text };

		cli_clean(c);
		putchar(c[0]);
	}
	putchar('\n');
}

int cli_print_json(json_t *doc, struct fail *why)
{
	int err = doc ? json_dumpf(doc, stdout, JSON_INDENT(2)) : -1;

	json_decref(doc);
	fputs("\n", stdout);
	if (err && !ferror(stdout)) {
		fail_set(why, EXIT_FAILED, -ENOMEM, "stdout", NULL,
			 "out of memory");
		return EXIT_FAILED;
	}
	return cli_flush(EXIT_OK, why);
}

int cli_find_vm(const char *name, struct vm_dir *d, struct fail *why)
{
	_cleanup_close_ int vms = home_open(false, why);

	if (vms == -ENOENT)
		return fail_set(why, EXIT_NOT_FOUND, -ENOENT, name,
				"see 'tintype ps --all'", "no such VM");
	return vms < 0 ? vms : home_find(vms, name, d, why);
}

static int not_running(const char *name, struct fail *why)
{
	return fail_set(why, EXIT_WRONG_STATE, -ESRCH, name,
			"see 'tintype ps --all'", "is not running");
}

int cli_call_dir(const struct vm_dir *d, const char *verb, json_t **result,
		 struct fail *why)
{
	return cli_call_args(d, verb, NULL, result, why);
}

int cli_call_args(const struct vm_dir *d, const char *verb, json_t *args,
		  json_t **result, struct fail *why)
{
	char path[HOME_SOCKET_PATH_MAX];
	_cleanup_close_ int fd = -1;
	int err;

	if (!vm_dir_alive(d))
		return not_running(d->name, why);
	home_socket_path(path, d->fd, "control.sock");
	fd = control_connect(path, why);
	if (fd >= 0)
		err =
		    control_call(fd, verb, args, result, CALL_TIMEOUT_MS, why);
	else
		err = fd;
	if (err && !vm_dir_alive(d))
		return not_running(d->name, why);
	/* The path that control.c knows says nothing to a person. */
	if (fd < 0)
		return fail_set(why, EXIT_WRONG_STATE, err, d->name,
				"it is starting or hangs: try again, or use "
				"'tintype stop --kill'",
				"does not answer: %s", strerror(-err));
	return err;
}

void cli_size_text(char buf[CLI_SIZE_TEXT], uint64_t bytes)
{
	static const char units[] = "BKMGT";
	unsigned u = 0;
	uint64_t tenths = bytes < UINT64_MAX / 10 ? bytes * 10 : UINT64_MAX;

	for (; tenths >= 10240 && units[u + 1]; u++)
		tenths /= 1024;
	if (tenths % 10)
		snprintf(buf, CLI_SIZE_TEXT, "%u.%u%c", (unsigned)(tenths / 10),
			 (unsigned)(tenths % 10), units[u]);
	else
		snprintf(buf, CLI_SIZE_TEXT, "%u%c", (unsigned)(tenths / 10),
			 units[u]);
}

/* ---- how a VM is ---- */

static void set_state(struct vm_view *v, const char *state)
{
	snprintf(v->state, sizeof(v->state), "%s", state);
}

/* Its process lives but does not answer. */
static const char *silent_state(const struct vm_dir *d)
{
	json_t *last = vm_dir_read_json(d, "state.json");
	const char *state = json_string_value(json_object_get(last, "state"));
	const char *now = "silent";

	if (!state)
		now = "starting";
	else if (!strcmp(state, "ended"))
		now = "ending";
	json_decref(last);
	return now;
}

static void view_live(struct vm_view *v, const struct vm_dir *d,
		      const char *verb)
{
	struct fail why;
	const char *state;

	if (cli_call_dir(d, verb, &v->status, &why)) {
		set_state(v, silent_state(d));
		return;
	}
	state = json_string_value(json_object_get(v->status, "state"));
	set_state(v, state ? state : "running");
}

static void view_dead(struct vm_view *v, const struct vm_dir *d)
{
	const char *state, *reason;

	v->status = vm_dir_read_json(d, "state.json");
	state = json_string_value(json_object_get(v->status, "state"));
	reason = json_string_value(json_object_get(v->status, "reason"));
	if (!v->status)
		set_state(v, "failed"); /* it never came to write one */
	else if (!state || strcmp(state, "ended"))
		set_state(v, "killed"); /* it had no time to say goodbye */
	else if (reason &&
		 (!strcmp(reason, "failed") || !strcmp(reason, "killed")))
		set_state(v, reason);
	else
		set_state(v, "ended");
}

void vm_view_get(struct vm_view *v, const struct vm_dir *d, const char *verb)
{
	memset(v, 0, sizeof(*v));
	snprintf(v->name, sizeof(v->name), "%s", d->name);
	v->config = vm_dir_read_json(d, "config.json");
	v->alive = vm_dir_alive(d);
	if (v->alive)
		view_live(v, d, verb);
	/* It may have ended while we asked. */
	if (!v->status && !vm_dir_alive(d))
		v->alive = false;
	if (!v->alive)
		view_dead(v, d);
}

void vm_view_free(struct vm_view *v)
{
	json_decref(v->status);
	json_decref(v->config);
}
