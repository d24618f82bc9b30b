/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs, and what they share. Each is the `run` of a row of verbs.c:
 * returns the exit code, and fills `why` when it failed.
 *
 * stdout is data, stderr is words. With --json there is one document (JSON
 * Lines for a stream), and a failure is one JSON object on stderr.
 */
#ifndef TINTYPE_CLI_H
#define TINTYPE_CLI_H

#include <jansson.h>

#include "config.h"
#include "fail.h"
#include "home.h"
#include "options.h"
#include "vm.h"

struct verb_table;

/* The whole program but exit(): argv[0] is its name. The exit code. */
int cli_main(int argc, char *const *argv);

/* Runs the verb that the words name: `first`, then those of `argv`. The exit
 * code; `why` is filled as by a verb. */
int cli_dispatch(const struct verb_table *t, const char *first, int argc,
		 char *const *argv, struct fail *why);

/* `help`: everything when `first` is NULL, else a verb or a noun. */
int cli_explain(const struct verb_table *t, const char *first,
		const char *second, struct fail *why);

int cli_run(const struct options *o, struct fail *why);
int cli_ps(const struct options *o, struct fail *why);
int cli_inspect(const struct options *o, struct fail *why);
int cli_logs(const struct options *o, struct fail *why);
int cli_console(const struct options *o, struct fail *why);
int cli_balloon(const struct options *o, struct fail *why);
int cli_stop(const struct options *o, struct fail *why);
int cli_pause(const struct options *o, struct fail *why);
int cli_resume(const struct options *o, struct fail *why);
int cli_rm(const struct options *o, struct fail *why);
int cli_version(const struct options *o, struct fail *why);
int cli_doctor(const struct options *o, struct fail *why);
int cli_completion(const struct options *o, struct fail *why);
int cli_help(const struct options *o, struct fail *why);
int cli_image_create(const struct options *o, struct fail *why);
int cli_image_info(const struct options *o, struct fail *why);
int cli_image_check(const struct options *o, struct fail *why);
int cli_image_compare(const struct options *o, struct fail *why);
int cli_image_bench(const struct options *o, struct fail *why);
int cli_image_export(const struct options *o, struct fail *why);

int cli_snapshot_clone(const struct options *o, struct fail *why);
int cli_snapshot_restore(const struct options *o, struct fail *why);
int cli_snapshot_create(const struct options *o, struct fail *why);
int cli_snapshot_diff(const struct options *o, struct fail *why);
int cli_snapshot_list(const struct options *o, struct fail *why);
int cli_snapshot_show(const struct options *o, struct fail *why);
int cli_snapshot_delete(const struct options *o, struct fail *why);

/* The snapshot that a VM goes on from: cli_from.h. */
struct run_from {
	const char *text; /* what the user called it; NULL: the guest boots */
	struct object_id manifest;
	enum clock_policy clock;
	bool keep_identity, force_cpu;
	bool own;     /* the VM itself goes on, under its name */
	bool discard; /* what its disks have since then is given up */
};

/* What `run` was asked for. */
struct run_args {
	struct vm_config config;
	const char *config_path; /* --config; NULL: none */
	bool detach, wait_ready, dry_run, json, quiet;
	unsigned wait_ready_s;
	struct run_from from;
	/* Private to run_start: this process is the VM's or its child; the VM
	 * got as far as vm_run. */
	bool is_child, began;
};

void run_args_init(struct run_args *a);
void run_args_free(struct run_args *a);

/* Setters of run's rows in verbs.c that are no part of vm_config's. */
int run_set_config(void *args, const char *value, struct fail *why);
int run_set_wait_ready(void *args, const char *value, struct fail *why);
int run_set_detach(void *args, const char *value, struct fail *why);
int run_set_dry_run(void *args, const char *value, struct fail *why);
int run_set_json(void *args, const char *value, struct fail *why);
int run_set_quiet(void *args, const char *value, struct fail *why);
int run_set_from(void *args, const char *value, struct fail *why);
int run_set_clock(void *args, const char *value, struct fail *why);
int run_set_keep_identity(void *args, const char *value, struct fail *why);
int run_set_force_cpu(void *args, const char *value, struct fail *why);

/*
 * Defaults, then the config file's text (NULL: none), then the flags, then the
 * words after "--"; then what must fit together is checked. Opens nothing.
 * 0 or -errno with `why`; `a` is to be freed either way.
 */
int run_resolve(struct run_args *a, const struct options *o, const char *text,
		size_t len, struct fail *why);

/* What must fit together once all of `a` is set; a detached VM has no terminal.
 */
int run_check_together(struct run_args *a, const struct options *o,
		       struct fail *why);

/* Starts the VM: runs it, or, detached, prints its name when it runs. The exit
 * code. */
int run_start(struct run_args *a, struct fail *why);

/* How a VM is, from its process or, when that is dead, from state.json. */
struct vm_view {
	char name[CONFIG_NAME_MAX + 1];
	bool alive;
	char state[16]; /* see ps.scd */
	json_t *status; /* the process's answer, or state.json; may be NULL */
	json_t *config; /* config.json; may be NULL */
};

/* Asks the VM (or reads its files); `verb` is "status" or "inspect". */
void vm_view_get(struct vm_view *v, const struct vm_dir *d, const char *verb);
void vm_view_free(struct vm_view *v);

/* Opens the home and the directory of a VM: EXIT_NOT_FOUND if none. */
int cli_find_vm(const char *name, struct vm_dir *d, struct fail *why);

/* One request to the VM's process; *result is a new reference or NULL.
 * EXIT_WRONG_STATE when it does not run. */
int cli_call_dir(const struct vm_dir *d, const char *verb, json_t **result,
		 struct fail *why);

/* The same with arguments, which stay the caller's. */
int cli_call_args(const struct vm_dir *d, const char *verb, json_t *args,
		  json_t **result, struct fail *why);

/* A string of a document from a text that may be any bytes, such as a path: see
 * utf8_only. NULL: no memory. */
json_t *cli_json_text(const char *text);

/* What would steer a terminal becomes a '?'; the text stays on one line. */
void cli_clean(char *text);
/* A line on stdout, which is clean. */
void cli_print_line(const char *text);

/* Prints a document on stdout, and takes the reference. The exit code. */
int cli_print_json(json_t *doc, struct fail *why);

/* The same for people: "name: value" lines, what is inside indented. */
void cli_print_tree(const json_t *doc);

/* Tells a failure on stderr: a line, or a JSON object. */
void cli_print_fail(const struct fail *why, bool json);

/* As many open files as the user may have: a chain has one for each of its
 * layers. */
void cli_raise_file_limit(void);

/* Text on stderr, inside the sandbox too. */
void cli_say(const char *text);

/* Whether there was no stdout to begin with: what is written to it goes to
 * /dev/null, which is no place for what cannot be had again. */
bool cli_stdout_closed(void);

/* What is in stdout's buffer gets out, or the verb has failed. */
int cli_flush(int code, struct fail *why);

/* "512M", "1.5G": for people. */
#define CLI_SIZE_TEXT 16
void cli_size_text(char buf[CLI_SIZE_TEXT], uint64_t bytes);
/* "3s", "2m10s", "5h02m", "3d04h" */
#define CLI_AGE_TEXT 32
void cli_age_text(char buf[CLI_AGE_TEXT], json_int_t ns);

#endif
