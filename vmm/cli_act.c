/* SPDX-License-Identifier: Apache-2.0 */
/* `stop`, `pause`, `resume`, `rm`: what changes a VM, for one or several. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "cli.h"
#include "cli_act.h"
#include "control.h"
#include "util.h"

#define STOP_DEFAULT_S 30
#define STOP_MAX_S     86400
/* How long a VM that was told to end at once may take before SIGKILL. */
#define KILL_GRACE_MS 2000
#define ANSWER_MS     2000

void act_tell(struct acting *a, const char *name)
{
	if (a->done)
		json_array_append_new(a->done, json_string(name));
	else if (!options_has(a->o, "quiet"))
		printf("%s\n", name);
}

void act_on(struct acting *a, const char *name, struct fail *first)
{
	struct fail why = { .code = EXIT_OK };

	int done = a->act(a, name, &why);

	if (done == 0)
		act_tell(a, name);
	if (done >= 0)
		return;
	if (first->message[0])
		cli_print_fail(first, a->done != NULL);
	/* The last failure is told by the caller, with the first's code. */
	if (first->message[0])
		why.code = first->code;
	*first = why;
}

int act_finish(struct acting *a, struct fail *first, struct fail *why)
{
	int code =
	    a->done ? cli_print_json(a->done, why) : cli_flush(EXIT_OK, why);

	if (!first->message[0])
		return code;
	*why = *first;
	return (int)why->code;
}

static int act_all(struct acting *a, struct fail *why)
{
	struct fail first = { .code = EXIT_OK };

	if (options_has(a->o, "json"))
		a->done = json_array();
	for (unsigned i = 0; i < a->o->noperands; i++)
		act_on(a, a->o->operand[i], &first);
	return act_finish(a, &first, why);
}

/* ---- pause, resume ---- */

static int call_named(const char *name, const char *verb, struct fail *why)
{
	struct vm_dir d = VM_DIR_NONE;
	json_t *result = NULL;
	int err = cli_find_vm(name, &d, why);

	if (!err)
		err = cli_call_dir(&d, verb, &result, why);
	json_decref(result);
	vm_dir_close(&d);
	return err;
}

static int pause_one(struct acting *a, const char *name, struct fail *why)
{
	return call_named(name, "pause", why);
}

static int resume_one(struct acting *a, const char *name, struct fail *why)
{
	return call_named(name, "resume", why);
}

int cli_pause(const struct options *o, struct fail *why)
{
	return act_all(&(struct acting){ .o = o, .act = pause_one }, why);
}

int cli_resume(const struct options *o, struct fail *why)
{
	return act_all(&(struct acting){ .o = o, .act = resume_one }, why);
}

/* ---- stop ---- */

/* The process that listens on the VM's control socket, as the kernel knows it;
 * or, when that takes no connection, as it has written itself. */
static pid_t vm_pid(const struct vm_dir *d)
{
	_cleanup_close_ int s = home_connect_at(d->fd, "control.sock");
	struct ucred peer;
	socklen_t len = sizeof(peer);
	json_t *state;
	pid_t pid;

	if (s >= 0 && getsockopt(s, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
		return peer.pid;
	state = vm_dir_read_json(d, "state.json");
	pid = (pid_t)json_integer_value(json_object_get(state, "pid"));
	json_decref(state);
	return pid;
}

/* A pidfd: what it names cannot become another process. -errno. */
static int vm_pidfd(const struct vm_dir *d)
{
	pid_t pid = vm_pid(d);
	_cleanup_close_ int fd =
	    pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	if (fd < 0)
		return pid > 1 ? -errno : -ESRCH;
	/* Opened by number: right only if the VM lives still. */
	return vm_dir_alive(d) ? steal_fd(&fd) : -ESRCH;
}

/* Until the process is gone; true, or false at the end of the time. */
static bool wait_gone(int pidfd, int64_t ms)
{
	int64_t end = now_ms() + ms;
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	for (int64_t left = ms; left > 0; left = end - now_ms()) {
		int n = poll(&p, 1, (int)MIN(left, (int64_t)60000));

		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
	return false;
}

/* Told to end; and if it listens no more, ended. */
static int kill_vm(const struct vm_dir *d, int pidfd, struct fail *why)
{
	char path[HOME_SOCKET_PATH_MAX];
	json_t *result = NULL;
	_cleanup_close_ int fd = -1;

	home_socket_path(path, d->fd, "control.sock");
	fd = control_connect(path, NULL);
	if (fd >= 0 &&
	    control_call(fd, "kill", NULL, &result, ANSWER_MS, NULL) == 0)
		json_decref(result);
	if (wait_gone(pidfd, fd >= 0 ? KILL_GRACE_MS : 1))
		return 0;
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 &&
	    errno != ESRCH)
		return fail_set(why, EXIT_FAILED, -errno, d->name, NULL,
				"kill its process: %s", strerror(errno));
	wait_gone(pidfd, KILL_GRACE_MS);
	return 0;
}

static int press_power(struct acting *a, const struct vm_dir *d, int pidfd,
		       struct fail *why)
{
	json_t *result = NULL;
	int err = cli_call_dir(d, "stop", &result, why);

	if (err)
		return err;
	json_decref(result);
	if (wait_gone(pidfd, (int64_t)a->timeout_s * 1000))
		return 0;
	return fail_set(why, EXIT_CANCELLED, -ETIMEDOUT, d->name,
			"give it longer with --timeout, or use --kill",
			"the guest did not power off within %u s",
			(unsigned)a->timeout_s);
}

static int stop_one(struct acting *a, const char *name, struct fail *why)
{
	struct vm_dir d = VM_DIR_NONE;
	_cleanup_close_ int pidfd = -1;
	int err = cli_find_vm(name, &d, why);

	if (err)
		return err;
	if (vm_dir_alive(&d))
		pidfd = vm_pidfd(&d);
	if (!vm_dir_alive(&d))
		err = fail_set(why, EXIT_WRONG_STATE, -ESRCH, name,
			       "see 'tintype ps --all'", "is not running");
	else if (pidfd < 0)
		err = fail_set(why, EXIT_WRONG_STATE, pidfd, name,
			       "it is just starting: try again",
			       "its process: %s", strerror(-pidfd));
	else if (options_has(a->o, "kill"))
		err = kill_vm(&d, pidfd, why);
	else
		err = press_power(a, &d, pidfd, why);
	vm_dir_close(&d);
	return err;
}

int cli_stop(const struct options *o, struct fail *why)
{
	const struct option_use *u = options_find(o, "timeout");
	struct acting a = { .o = o,
			    .act = stop_one,
			    .timeout_s = STOP_DEFAULT_S };

	if (u && (config_parse_count(u->value, &a.timeout_s) || !a.timeout_s ||
		  a.timeout_s > STOP_MAX_S)) {
		char object[sizeof(why->object)];

		snprintf(object, sizeof(object), "stop: --timeout %s",
			 u->value);
		fail_set(why, EXIT_USAGE, -EINVAL, object,
			 "use 1 to 86400 seconds", "not a time");
		return EXIT_USAGE;
	}
	return act_all(&a, why);
}

/* ---- rm ---- */

static int rm_one(struct acting *a, const char *name, struct fail *why)
{
	_cleanup_close_ int vms = home_open(false, why);

	if (vms == -ENOENT)
		return fail_set(why, EXIT_NOT_FOUND, -ENOENT, name,
				"see 'tintype ps --all'", "no such VM");
	return vms < 0 ? vms : home_remove(vms, name, why);
}

struct removing {
	struct acting *a;
	struct fail *first;
};

static int rm_dead(void *ctx, struct vm_dir *d)
{
	struct removing *r = ctx;

	if (!vm_dir_alive(d))
		act_on(r->a, d->name, r->first);
	return 0;
}

static int rm_all(struct acting *a, struct fail *why)
{
	_cleanup_close_ int vms = home_open(false, why);
	struct fail first = { .code = EXIT_OK };

	if (vms < 0 && why->message[0])
		return (int)why->code;
	if (options_has(a->o, "json"))
		a->done = json_array();
	if (vms >= 0)
		home_each(vms, rm_dead, &(struct removing){ a, &first });
	return act_finish(a, &first, why);
}

int cli_rm(const struct options *o, struct fail *why)
{
	struct acting a = { .o = o, .act = rm_one };
	bool all = options_has(o, "all");

	if (all != (o->noperands == 0)) {
		fail_set(why, EXIT_USAGE, -EINVAL, "rm",
			 "see 'tintype help rm'",
			 all ? "--all and names exclude each other"
			     : "operand missing: VM... or --all");
		return EXIT_USAGE;
	}
	return all ? rm_all(&a, why) : act_all(&a, why);
}
