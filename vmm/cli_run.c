/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `run`: from the words of the command line to vm_run.
 *
 * With --detach the process forks before anything of KVM exists (a VM belongs
 * to the process that made it) and before its sockets listen (their peer
 * credentials name the process that called listen). The parent waits on two
 * pipes: `started`, a line of JSON, and `ready`, a byte.
 */
#include "cli_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "cli_from.h"
#include "kvm.h"
#include "log.h"
#include "util.h"
#include "verbs.h"

/* So many dead directories of unnamed VMs may lie about, and as many are looked
 * at by one `run` when there are more. */
#define SWEEP_SPARE 16
#define SWEEP_LOOK  32

/* ---- the VM's process ---- */

/* A detached VM's name was told to the user, who may ask for its log when it
 * has ended. */
static bool stays(const struct run_args *a)
{
	return a->config.named || a->detach;
}

static int be_the_vm(struct run_args *a, const struct vm_dir *d,
		     struct vm_files *f, struct fail *why)
{
	int code;

	f->disks_stay = stays(a);
	if ((a->from.text && from_open(a, d, f, why)) ||
	    run_open_all(&a->config, d, f, why))
		return (int)why->code;
	f->lock = d->lock;
	if (f->terminal && !a->quiet)
		fprintf(stderr,
			"tintype: %s: Enter ~. ends the VM, Enter ~? helps\n",
			d->name);
	/* From here on nothing can be removed any more. */
	a->began = true;
	code = vm_run(&a->config, f, why);
	/* What ended it came in the middle of a line. */
	if (f->terminal && code == EXIT_CANCELLED && !a->quiet)
		cli_say("\n");
	return code;
}

/* Told to the parent as the line of JSON that it waits for; vm_run closes
 * `started` when it has said {"ok":true}, and then vmm.log alone is told. */
static void tell_parent(int started, const struct fail *why)
{
	_cleanup_free_ char *text = NULL;
	json_t *doc = json_pack("{s:{s:i, s:s, s:s, s:s}}", "error", "code",
				(int)why->code, "message", why->message,
				"object", why->object, "hint", why->hint);

	text = doc ? json_dumps(doc, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	json_decref(doc);
	if (text && started >= 0)
		dprintf(started, "%s\n", text);
}

static int leave_terminal(const struct vm_dir *d, struct fail *why)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int log = -1;

	if (null < 0)
		return fail_set(why, EXIT_OWN_FAILURE, -errno, "/dev/null",
				"a VM in the background needs it", "%s",
				strerror(errno));
	log =
	    vm_dir_open(d, "vmm.log", O_WRONLY | O_CREAT | O_APPEND | O_TRUNC);
	if (log < 0)
		return run_file_error(log, d->name, "vmm.log", NULL, why);
	if (setsid() < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
		return run_file_error(-errno, d->name, "stdio", NULL, why);
	return 0;
}

/* The child. Its exit code is nobody's: state.json holds the VM's. */
static int detached(struct run_args *a, const struct vm_dir *d, int started,
		    int ready)
{
	struct vm_files f = RUN_NO_FILES;
	struct fail why = { .code = EXIT_OK };
	int code;

	f.started = started;
	f.ready = ready;
	a->is_child = true;
	/* Its stderr is still the parent's, who will say it. */
	if (leave_terminal(d, &why)) {
		tell_parent(f.started, &why);
		return (int)why.code;
	}
	code = be_the_vm(a, d, &f, &why);
	if (why.message[0]) {
		tell_parent(f.started, &why);
		cli_print_fail(&why, false);
	}
	return code;
}

/* ---- the parent of a detached VM ---- */

struct waiting {
	struct run_args *a;
	struct vm_dir *d;
	int started, ready;
	pid_t pid;
};

/* The first line that comes, without its end; 0, or -EPIPE at the end. */
static int read_line(int fd, char *line, size_t len)
{
	size_t n = 0;

	while (n + 1 < len) {
		ssize_t r = read(fd, line + n, 1);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -EPIPE;
		if (line[n] == '\n')
			break;
		n++;
	}
	line[n] = '\0';
	return 0;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static int wait_started(const struct waiting *w, struct fail *why)
{
	char line[2048];
	json_t *doc, *error;
	int code;

	if (read_line(w->started, line, sizeof(line)))
		return fail_set(why, EXIT_OWN_FAILURE, -EPIPE, w->d->name,
				"see vmm.log in its directory",
				"its process ended before the guest ran");
	doc = json_loads(line, 0, NULL);
	error = json_object_get(doc, "error");
	if (json_is_true(json_object_get(doc, "ok"))) {
		json_decref(doc);
		return 0;
	}
	code = (int)json_integer_value(json_object_get(error, "code"));
	fail_set(why, code ? (enum exit_code)code : EXIT_OWN_FAILURE, -EIO,
		 text_of(error, "object"), text_of(error, "hint"), "%s",
		 text_of(error, "message"));
	json_decref(doc);
	return -EIO;
}

/* The VM ended before it was ready: its code and its words are ours. */
static int ended_early(const struct waiting *w, struct fail *why)
{
	json_t *state = vm_dir_read_json(w->d, "state.json");
	const json_t *code = json_object_get(state, "code");
	const char *message = text_of(state, "message");
	int exit_code = code ? (int)json_integer_value(code) : EXIT_OWN_FAILURE;

	fail_set(why, EXIT_FAILED, -ESRCH, w->d->name,
		 "'tintype logs' shows what it printed",
		 "ended before it was ready (code %d)%s%s", exit_code,
		 *message ? ": " : "", message);
	json_decref(state);
	/* A guest that ends well without being ready has failed its user. */
	return exit_code ? exit_code : EXIT_FAILED;
}

static int wait_ready(const struct waiting *w, struct fail *why)
{
	int64_t left = (int64_t)w->a->wait_ready_s * 1000;
	const int64_t end = now_ms() + left;
	struct pollfd p = { .fd = w->ready, .events = POLLIN };
	char byte;

	for (; left > 0; left = end - now_ms()) {
		ssize_t n;

		if (poll(&p, 1, (int)MIN(left, 3600000)) <= 0)
			continue;
		n = read(w->ready, &byte, 1);
		if (n < 0 && errno == EINTR)
			continue;
		return n == 1 ? EXIT_OK : ended_early(w, why);
	}
	fail_set(why, EXIT_CANCELLED, -ETIMEDOUT, w->d->name,
		 "it runs on: 'tintype logs' shows what it does, "
		 "'tintype stop' ends it",
		 "not ready after %u s", w->a->wait_ready_s);
	return EXIT_CANCELLED;
}

static int tell_name(const struct waiting *w, struct fail *why)
{
	if (w->a->json)
		return cli_print_json(json_pack("{s:s, s:i}", "name",
						w->d->name, "pid", (int)w->pid),
				      why);
	printf("%s\n", w->d->name);
	return cli_flush(EXIT_OK, why);
}

static int parent(struct waiting *w, struct fail *why)
{
	int code;

	if (wait_started(w, why)) {
		/* It gives its directory back only with its end. */
		waitpid(w->pid, NULL, 0);
		return (int)why->code;
	}
	w->a->began = true;
	code = tell_name(w, why);
	if (code == EXIT_OK && w->a->wait_ready)
		code = wait_ready(w, why);
	return code;
}

static int detach(struct run_args *a, struct vm_dir *d, struct fail *why)
{
	int started[2], ready[2];
	pid_t pid;
	int code;

	if (pipe2(started, O_CLOEXEC) < 0 || pipe2(ready, O_CLOEXEC) < 0 ||
	    (pid = fork()) < 0) {
		fail_set(why, EXIT_FAILED, -errno, d->name, NULL,
			 "start a process: %s", strerror(errno));
		return (int)why->code;
	}
	if (!pid) {
		close(started[0]);
		close(ready[0]);
		return detached(a, d, started[1], ready[1]);
	}
	close(started[1]);
	close(ready[1]);
	/* The lock is the child's alone from here on. */
	close(steal_fd(&d->lock));
	code =
	    parent(&(struct waiting){ a, d, started[0], ready[0], pid }, why);
	close(started[0]);
	close(ready[0]);
	return code;
}

/* ---- before that ---- */

/* Reads a --config file; "" when there is none. */
static int read_config(const char *path, char **text, size_t *len,
		       struct fail *why)
{
	_cleanup_close_ int fd = run_open_input("config", path, why);
	ssize_t n;

	if (fd < 0)
		return fd;
	*text = malloc(CONFIG_MAX_BYTES + 1);
	if (!*text)
		return fail_set(why, EXIT_FAILED, -ENOMEM, "config", NULL,
				"out of memory");
	n = read(fd, *text, CONFIG_MAX_BYTES + 1);
	if (n < 0)
		return run_file_error(-errno, "config", path, NULL, why);
	if (n > CONFIG_MAX_BYTES)
		return run_file_error(-EFBIG, "config", path,
				      "it may hold 64 KiB", why);
	*len = (size_t)n;
	return 0;
}

/* What would be silently ignored. */
static int refuse_without_from(const struct options *o, struct fail *why)
{
	static const char *const names[] = { "clock", "keep-identity",
					     "force-cpu" };
	char object[64];

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (!options_has(o, names[i]))
			continue;
		snprintf(object, sizeof(object), "run: --%s", names[i]);
		return fail_set(why, EXIT_USAGE, -EINVAL, object,
				"give --from VM@SNAP as well",
				"only for a VM that goes on from a snapshot");
	}
	return 0;
}

static int resolve(struct run_args *a, const struct options *o,
		   struct fail *why)
{
	const struct option_use *u = options_find(o, "config");
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int err = refuse_without_from(o, why);

	if (!err && u)
		err = read_config(u->value, &text, &len, why);
	return err ? err : run_resolve(a, o, text, len, why);
}

/* --dry-run: everything could be opened, and nothing was made. */
static int dry_run(const struct run_args *a, struct fail *why)
{
	_cleanup_close_ int vms = -1, kvm = -1;

	if (run_check_images(&a->config, why))
		return (int)why->code;
	kvm = kvm_open(why);
	if (kvm < 0)
		return (int)why->code;
	vms = home_open(false, why);
	if (vms < 0 && vms != -ENOENT)
		return (int)why->code;
	if (vms >= 0 && home_alive(vms, a->config.name)) {
		fail_set(why, EXIT_CONFLICT, -EBUSY, a->config.name,
			 "stop it first, or give another --name",
			 "a VM of this name is running");
		return EXIT_CONFLICT;
	}
	return cli_print_json(config_to_json(&a->config), why);
}

/* By the name alone: the content is never asked what it is. */
static void warn_of_names(const struct vm_config *c)
{
	static const char ends[] = ".qcow2";
	const size_t n = strlen(ends);

	for (unsigned i = 0; i < c->ndisks; i++) {
		const char *path = c->disk[i].path;
		size_t len = strlen(path);

		if (!c->disk[i].qcow2 && len >= n &&
		    !strcmp(path + len - n, ends))
			log_warn(path, "is taken as raw, whatever its name "
				       "says: ',format=qcow2' imports it");
	}
}

/* A file of the snapshot's that is not where it was. */
static int check_host_files(const struct run_args *a, struct fail *why)
{
	int err = run_check_images(&a->config, why);

	if (err && a->from.text && why->code == EXIT_NOT_FOUND)
		snprintf(why->hint, sizeof(why->hint),
			 "say where it is now: %s",
			 strncmp(why->object, "disk", 4)
			     ? "--kernel FILE, --initrd FILE"
			     : "--disk PATH,id=ID");
	return err;
}

/* Whoever reads config.json may stand elsewhere. */
static int make_absolute(char **path)
{
	_cleanup_free_ char *here = NULL;
	char *full;

	if (!*path || **path == '/')
		return 0;
	here = getcwd(NULL, 0);
	if (!here || asprintf(&full, "%s/%s", here, *path) < 0)
		return -ENOMEM;
	free(*path);
	*path = full;
	return 0;
}

static int make_paths_absolute(struct vm_config *c, struct fail *why)
{
	char **const paths[] = { &c->kernel,	  &c->initrd,
				 &c->serial_path, &c->share_console,
				 &c->agent_path,  &c->vsock_path };
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(paths) && !err; i++)
		err = make_absolute(paths[i]);
	for (unsigned i = 0; i < c->ndisks && !err; i++)
		err = make_absolute(&c->disk[i].path);
	return err ? fail_set(why, EXIT_FAILED, err, "run", NULL,
			      "out of memory")
		   : 0;
}

static bool is_there(int vms, const struct vm_config *c)
{
	struct vm_dir d;

	if (!c->named || home_find(vms, c->name, &d, NULL))
		return false;
	vm_dir_close(&d);
	return true;
}

int run_start(struct run_args *a, struct fail *why)
{
	struct vm_config *c = &a->config;
	struct vm_dir d = VM_DIR_NONE;
	struct vm_files f = RUN_NO_FILES;
	_cleanup_close_ int vms = -1;
	bool was_there;
	int code;

	cli_raise_file_limit();
	if (check_host_files(a, why) || make_paths_absolute(c, why))
		return (int)why->code;
	warn_of_names(c);
	vms = home_open(true, why);
	if (vms < 0)
		return (int)why->code;
	home_sweep(vms, SWEEP_SPARE, SWEEP_LOOK);
	was_there = is_there(vms, c);
	if (home_claim(vms, c->named ? c->name : NULL, stays(a), &d, why))
		return (int)why->code;
	memcpy(c->name, d.name, sizeof(c->name));
	/* While there is a terminal to show how far it is. */
	if (disk_import_all(c, &d, why))
		code = (int)why->code;
	else
		code =
		    a->detach ? detach(a, &d, why) : be_the_vm(a, &d, &f, why);
	vm_dir_close(&d);
	/* A copy that came to nothing leaves nothing. */
	if (a->from.text && !a->began && !was_there && !a->is_child)
		(void)home_remove(vms, c->name, NULL);
	return code;
}

static int resolve_from(struct run_args *a, const struct options *o,
			const char *text, struct fail *why)
{
	struct options_table t =
	    verb_options(verb_find(&tintype_verbs, "run", NULL));

	return from_resolve(a, o, &t, text, why);
}

int cli_run(const struct options *o, struct fail *why)
{
	const struct option_use *from = options_find(o, "from");
	struct run_args a;
	int code;

	run_args_init(&a);
	if ((from ? resolve_from(&a, o, from->value, why)
		  : resolve(&a, o, why)) ||
	    run_check_memory(&a.config, why))
		code = (int)why->code;
	else if (a.dry_run)
		code = dry_run(&a, why);
	else
		code = run_start(&a, why);
	if (a.quiet && (code == EXIT_GUEST_CRASH || code == EXIT_CANCELLED))
		why->message[0] = '\0';
	run_args_free(&a);
	return code;
}
