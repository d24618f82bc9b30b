/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM's process from "all is open" to its exit code. The order is fixed:
 * harden, build, load, confine the threads, tell the parent, run.
 */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>

#include "balloon_op.h"
#include "capture.h"
#include "console.h"
#include "control.h"
#include "demo_guest.h"
#include "device.h"
#include "disk_set.h"
#include "fdio.h"
#include "footprint.h"
#include "log.h"
#include "loop.h"
#include "machine.h"
#include "restore.h"
#include "sandbox.h"
#include "terminal.h"
#include "thread.h"
#include "util.h"
#include "vm_files.h"
#include "vsock_broker.h"
#include "writer.h"

struct vm {
	const struct vm_config *cfg;
	struct vm_files *files;
	struct loop loop;
	struct console *console;
	struct control *control;
	struct machine *machine;
	struct layer_set *layers; /* all that disks and memory lie on */
	struct disk_set *disks;
	struct writer *writer;
	struct capture *capture;
	struct boot_source src;
	struct loop_source signals;
	struct loop_timer settled, button;
	pid_t pid;	     /* ours, which the sandbox does not tell */
	uint64_t started_ns; /* CLOCK_MONOTONIC */
	time_t started;	     /* wall clock, for people */
	bool ready, ended;
	int code;
	const char *reason;
	struct fail end; /* message of the end; empty when there is nothing */
};

/* ---- how the VM is, for whoever looks at its directory ---- */

static void write_status(struct vm *vm)
{
	_cleanup_free_ char *text = NULL;
	json_t *doc = json_pack("{s:i, s:I, s:s}", "pid", (int)vm->pid,
				"started", (json_int_t)vm->started, "state",
				vm->ended ? "ended" : "running");
	size_t len;

	if (doc && vm->ended)
		json_object_update_new(doc,
				       json_pack("{s:i, s:s, s:s}", "code",
						 vm->code, "reason", vm->reason,
						 "message", vm->end.message));
	text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	json_decref(doc);
	if (vm->files->status < 0 || !text)
		return;
	len = strlen(text);
	if (fd_pwrite(vm->files->status, text, len, 0) != (ssize_t)len ||
	    ftruncate(vm->files->status, (off_t)len))
		log_warn(vm->cfg->name, "write state.json: %s",
			 strerror(errno));
}

/* ---- the end ---- */

/* The first reason counts. The guest is stopped and stays so. */
static void end_vm(struct vm *vm, int code, const char *reason)
{
	if (vm->ended)
		return;
	if (machine_state(vm->machine) == MACHINE_RUNNING)
		machine_pause(vm->machine);
	/* A capture that is given up now does not let it run again. */
	if (capture_holds(vm->capture))
		capture_run_after(vm->capture, false);
	vm->ended = true;
	vm->code = code;
	vm->reason = reason;
	loop_quit(&vm->loop);
}

/* `cpu`: the vCPU that did it; 0 where that is not known. */
#define NO_CPU UINT_MAX

static void crash(struct vm *vm, int code, const char *reason, unsigned cpu,
		  const char *text)
{
	char at[64] = "";

	if (vm->ended)
		return;
	if (machine_state(vm->machine) == MACHINE_RUNNING)
		machine_pause(vm->machine);
	if (cpu != NO_CPU)
		snprintf(at, sizeof(at), " (vCPU %u at 0x%" PRIx64 ")", cpu,
			 machine_vcpu_rip(vm->machine, cpu));
	fail_set(&vm->end, (enum exit_code)code, -EIO, vm->cfg->name,
		 vm->files->out >= 0
		     ? NULL
		     : "'tintype logs' shows what the guest printed last",
		 "%s%s", text, at);
	end_vm(vm, code, reason);
}

static void reboot(struct vm *vm)
{
	if (vm->cfg->on_reboot == ON_REBOOT_EXIT) {
		end_vm(vm, EXIT_OK, "reboot");
		return;
	}
	vm->ready = false;
	/* A machine that was paused meanwhile stays paused. */
	if (machine_reset(vm->machine, &vm->end) < 0)
		end_vm(vm, EXIT_OWN_FAILURE, "failed");
}

static void on_guest_event(void *ctx, enum guest_event what, uint32_t value)
{
	struct vm *vm = ctx;
	char text[64];

	if (vm->ended)
		return;
	switch (what) {
	case GUEST_POWEROFF:
		end_vm(vm, EXIT_OK, "poweroff");
		break;
	case GUEST_RESET:
		reboot(vm);
		break;
	case GUEST_EXIT:
		end_vm(vm, (int)(value & 0xff), "exit");
		break;
	case GUEST_PANIC:
		crash(vm, EXIT_GUEST_CRASH, "panic", NO_CPU,
		      "the guest panicked");
		break;
	case GUEST_READY:
		/* Who waited may look at the log next. */
		console_sync(vm->console);
		if (!vm->ready && vm->files->ready >= 0 &&
		    fd_write(vm->files->ready, "R", 1) != 1)
			log_debug(vm->cfg->name, "nobody waits for ready");
		vm->ready = true;
		break;
	case GUEST_TRIPLE_FAULT:
		crash(vm, EXIT_GUEST_CRASH, "triple-fault", value,
		      "the guest triple-faulted");
		break;
	case GUEST_VCPU_FAILED:
		snprintf(text, sizeof(text),
			 "KVM cannot run the guest on: %s %u",
			 GUEST_FAILED_BY_RUN(value) ? "error" : "exit reason",
			 GUEST_FAILED_WHY(value));
		crash(vm, EXIT_OWN_FAILURE, "failed", GUEST_FAILED_CPU(value),
		      text);
		break;
	}
}

static void killed(struct vm *vm, const char *by)
{
	if (vm->ended)
		return;
	fail_set(&vm->end, EXIT_CANCELLED, -ECANCELED, vm->cfg->name, NULL,
		 "ended by %s", by);
	end_vm(vm, EXIT_CANCELLED, "killed");
}

static void on_escape(void *ctx)
{
	killed(ctx, "the terminal (~.)");
}

static void on_signal(struct loop_source *s, uint32_t events)
{
	struct vm *vm = container_of(s, struct vm, signals);
	struct signalfd_siginfo info;
	char by[32];

	if (fd_read(s->fd, &info, sizeof(info)) != sizeof(info))
		return;
	snprintf(by, sizeof(by), "SIG%s", sigabbrev_np((int)info.ssi_signo));
	killed(vm, by);
}

/* A crash of our own must not leave the user's terminal raw. */
static void on_fatal(int sig)
{
	terminal_restore();
	thread_raise(sig); /* SA_RESETHAND: it ends us now */
}

/* Those that end a process which does not ask for them, so that the terminal is
 * restored and state.json tells the end. What our parent had us ignore (nohup,
 * a shell's background job) stays so: blocked, it would be told all the same.
 */
static void signals_that_end(sigset_t *set)
{
	const int ends[] = { SIGTERM, SIGINT,  SIGHUP,	SIGQUIT,
			     SIGUSR1, SIGUSR2, SIGALRM, SIGXCPU };
	struct sigaction now;

	sigemptyset(set);
	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++)
		if (sigaction(ends[i], NULL, &now) == 0 &&
		    now.sa_handler != SIG_IGN)
			sigaddset(set, ends[i]);
}

static int setup_signals(struct vm *vm)
{
	const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	const struct sigaction end = { .sa_handler = on_fatal,
				       .sa_flags = SA_RESETHAND | SA_NODEFER };
	sigset_t set;

	signals_that_end(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (unsigned i = 0; vm->files->terminal && i < ARRAY_SIZE(fatal); i++)
		sigaction(fatal[i], &end, NULL);
	vm->signals = (struct loop_source){
		.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
		.ready = on_signal,
		.events = EPOLLIN,
	};
	return vm->signals.fd < 0 ? -errno : loop_add(&vm->loop, &vm->signals);
}

/* ---- control ---- */

static int op_status(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	struct vm *vm = ctx;

	*result = json_pack(
	    "{s:s, s:s, s:i, s:i, s:I, s:b, s:I}", "name", vm->cfg->name,
	    "state", machine_state_name(machine_state(vm->machine)), "pid",
	    (int)vm->pid, "cpus", (int)vm->cfg->cpus, "memory",
	    (json_int_t)vm->cfg->memory_bytes, "ready", vm->ready, "uptime_ns",
	    (json_int_t)(now_ns() - vm->started_ns));
	return *result ? 0 : -ENOMEM;
}

static void add_device(void *ctx, const struct device *d, const char *state)
{
	json_t *counters = json_object();

	for (unsigned i = 0; i < d->ops->ncounters; i++)
		json_object_set_new(
		    counters, d->ops->counter[i].name,
		    json_integer((json_int_t)device_count(d, i)));
	json_array_append_new(
	    ctx, json_pack("{s:s, s:s, s:I, s:o, s:s}", "name", d->name, "type",
			   d->ops->type, "refused", (json_int_t)d->refused,
			   "counters", counters, "state", state));
}

static int op_inspect(void *ctx, json_t *args, json_t **result,
		      struct fail *why)
{
	struct vm *vm = ctx;
	struct machine_counters c;
	struct console_counters t;
	json_t *devices = json_array();
	char path[PATH_MAX];

	if (op_status(ctx, args, result, why) < 0) {
		json_decref(devices);
		return -ENOMEM;
	}
	machine_counters(vm->machine, &c);
	console_counters(vm->console, &t);
	if (vm->cfg->vsock &&
	    vsock_broker_path(vm->cfg, path, sizeof(path)) == 0)
		json_object_set_new(*result, "vsock", json_string(path));
	machine_each_device(vm->machine, add_device, devices);
	json_object_set_new(*result, "config", config_to_json(vm->cfg));
	json_object_set_new(*result, "devices", devices);
	json_object_set_new(
	    *result, "counters",
	    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "exits",
		      (json_int_t)c.exits, "pio", (json_int_t)c.pio, "mmio",
		      (json_int_t)c.mmio, "signals", (json_int_t)c.signals,
		      "unclaimed", (json_int_t)c.unclaimed, "refused",
		      (json_int_t)c.refused, "resets", (json_int_t)c.resets));
	json_object_set_new(
	    *result, "console",
	    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "out_bytes",
		      (json_int_t)t.out_bytes, "in_bytes",
		      (json_int_t)t.in_bytes, "dropped_clients",
		      (json_int_t)t.dropped_clients, "dropped_input",
		      (json_int_t)t.dropped_input, "dropped_output",
		      (json_int_t)t.dropped_output, "failed_writes",
		      (json_int_t)t.failed_writes, "refused_clients",
		      (json_int_t)t.refused_clients));
	return 0;
}

static int wrong_state(struct vm *vm, struct fail *why)
{
	return fail_set(why, EXIT_WRONG_STATE, -EINVAL, vm->cfg->name, NULL,
			"is %s already",
			machine_state_name(machine_state(vm->machine)));
}

static int op_pause(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	struct vm *vm = ctx;

	/* It stands still for a capture already, and will stay so. */
	if (capture_holds(vm->capture)) {
		capture_run_after(vm->capture, false);
		return 0;
	}
	if (machine_state(vm->machine) != MACHINE_RUNNING)
		return wrong_state(vm, why);
	machine_pause(vm->machine);
	return 0;
}

static int op_resume(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	struct vm *vm = ctx;

	/* It may have ended in the same round of the loop. */
	if (vm->ended)
		return fail_set(why, EXIT_WRONG_STATE, -ESRCH, vm->cfg->name,
				NULL, "has ended");
	if (capture_holds(vm->capture)) {
		capture_run_after(vm->capture, true);
		return 0;
	}
	if (machine_state(vm->machine) != MACHINE_QUIESCED)
		return wrong_state(vm, why);
	machine_run(vm->machine);
	return 0;
}

/* The interrupt is an edge: a guest that was not listening yet, since it was
 * still booting, would never hear of a press that was told once. */
#define BUTTON_NS 200000000

static void on_button(struct loop_timer *t)
{
	struct vm *vm = container_of(t, struct vm, button);

	if (machine_state(vm->machine) != MACHINE_RUNNING ||
	    machine_power_button_again(vm->machine))
		loop_timer_set(t, BUTTON_NS);
}

static int op_stop(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	struct vm *vm = ctx;

	if (machine_state(vm->machine) != MACHINE_RUNNING)
		return fail_set(why, EXIT_WRONG_STATE, -EINVAL, vm->cfg->name,
				"resume it first, or use --kill",
				"is paused and cannot power off");
	machine_power_button(vm->machine);
	loop_timer_set(&vm->button, BUTTON_NS);
	return 0;
}

static int op_kill(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	killed(ctx, "'tintype stop --kill'");
	return 0;
}

static int op_balloon(void *ctx, json_t *args, json_t **result,
		      struct fail *why)
{
	struct vm *vm = ctx;

	return balloon_op(vm->machine, vm->cfg->name, vm->cfg->memory_bytes,
			  args, result, why);
}

/* A committed snapshot that is to be the VM's end. */
static void on_saved(void *ctx)
{
	end_vm(ctx, EXIT_OK, "saved");
}

#define CAPTURE_OP(which)                                                      \
	static int op_capture_##which(void *ctx, struct control_request *r,    \
				      json_t *args, struct fail *why)          \
	{                                                                      \
		struct vm *vm = ctx;                                           \
                                                                               \
		if (vm->ended)                                                 \
			return fail_set(why, EXIT_WRONG_STATE, -ESRCH,         \
					vm->cfg->name, NULL, "has ended");     \
		return capture_op_##which(vm->capture, r, args, why);          \
	}
CAPTURE_OP(plan)
CAPTURE_OP(begin)
CAPTURE_OP(wait)
CAPTURE_OP(commit)
CAPTURE_OP(abort)

#define LATER(name)                                                            \
	{                                                                      \
		.verb = "capture-" #name, .later = op_capture_##name           \
	}
#define OP(name)                                                               \
	{                                                                      \
		.verb = #name, .run = op_##name                                \
	}

static const struct control_op ops[] = {
	LATER(plan),  LATER(begin), LATER(wait), LATER(commit),
	LATER(abort), OP(balloon),  OP(inspect), OP(kill),
	OP(pause),    OP(resume),   OP(status),	 OP(stop),
};

/* ---- building ---- */

static int blob_of(struct blob *b, int fd, const char *name, struct fail *why)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail_set(why, EXIT_FAILED, -errno, name, NULL, "%s",
				strerror(errno));
	*b = (struct blob){ .fd = fd,
			    .bytes = (uint64_t)st.st_size,
			    .name = name };
	return 0;
}

static int set_source(struct vm *vm, struct fail *why)
{
	int r = 0;

	vm->src.cmdline = vm->cfg->cmdline;
	vm->src.protocol = vm->cfg->boot;
	if (vm->files->kernel >= 0) {
		r = blob_of(&vm->src.kernel, vm->files->kernel, vm->cfg->kernel,
			    why);
	} else {
		vm->src.kernel = (struct blob){
			.fd = -1,
			.data = demo_guest_start,
			.bytes = (uint64_t)(demo_guest_end - demo_guest_start),
			.name = "demo guest",
		};
		if (vm->src.protocol == BOOT_AUTO)
			vm->src.protocol = BOOT_LINUX64;
	}
	if (r == 0 && vm->files->initrd >= 0)
		r = blob_of(&vm->src.initrd, vm->files->initrd, vm->cfg->initrd,
			    why);
	return r;
}

static int create_console(struct vm *vm, struct fail *why)
{
	struct console_config c = {
		.in_fd = vm->files->in,
		.out_fd = vm->files->out,
		.terminal = vm->files->terminal,
		.log_fd = vm->files->log,
		.listen_fd = { vm->files->console[0], vm->files->console[1] },
		.escape = on_escape,
		.ctx = vm,
	};
	int r = console_create(&vm->console, &vm->loop, &c);

	return r < 0 ? fail_set(why, EXIT_OWN_FAILURE, r, "console", NULL, "%s",
				strerror(-r))
		     : 0;
}

static int no_such_layer(void *ctx, const struct object_id *id)
{
	return -ENOENT;
}

/* From here on their fds are the set's. */
static int open_layers(struct vm *vm, struct fail *why)
{
	struct vm_files *f = vm->files;
	int err = 0;

	vm->layers = layer_set_create(NULL, NULL);
	if (!vm->layers)
		return fail_set(why, EXIT_OWN_FAILURE, -ENOMEM, vm->cfg->name,
				NULL, "out of memory");
	for (unsigned i = 0; i < f->nlayers && !err; i++) {
		struct layer *l;

		err = layer_open(vm->layers, steal_fd(&f->layer[i]), "layer",
				 NULL, &l, why);
	}
	return err ? err : layer_link(vm->layers, no_such_layer, NULL, why);
}

static int create_disks(struct vm *vm, struct machine_disk *disk,
			struct fail *why)
{
	const struct disk_set_config c = {
		.loop = &vm->loop,
		.vm = vm->cfg,
		.files = vm->files->disk,
		.layers = vm->layers,
		.discard = !vm->files->disks_stay,
	};
	int r = disk_set_create(&vm->disks, &c, why);

	if (r == 0)
		disk_set_describe(vm->disks, vm->cfg, disk);
	return r;
}

/* The machine's from here on. */
static void take_nets(struct vm *vm, struct machine_config *m)
{
	for (unsigned i = 0; i < vm->cfg->nnets; i++) {
		const struct vm_net *n = &vm->cfg->net[i];
		struct machine_net *to = &m->net[m->nnets++];

		*to = (struct machine_net){
			.name = n->id,
			.fd = steal_fd(&vm->files->net[i]),
			.stream = n->kind == VM_NET_PASST,
			.mtu = n->mtu,
			.bytes_max = n->bytes_max,
			.frames_max = n->frames_max,
		};
		vm_net_mac(n, vm->cfg->name, to->mac);
	}
}

static int create_capture(struct vm *vm, struct fail *why)
{
	int r = writer_create(&vm->writer, &vm->loop, sandbox_writer);
	struct capture_config c = {
		.name = vm->cfg->name,
		.loop = &vm->loop,
		.machine = vm->machine,
		.writer = vm->writer,
		.disks = vm->disks,
		.layers = vm->layers,
		.pagemap = vm->files->pagemap,
		.cpus = vm->cfg->cpus,
		.end = on_saved,
		.ctx = vm,
	};

	if (r == 0)
		r = capture_create(&vm->capture, &c);
	return r < 0 ? fail_set(why, EXIT_OWN_FAILURE, r, vm->cfg->name, NULL,
				"make the writer: %s", strerror(-r))
		     : 0;
}

static int find_image(struct vm *vm, struct image *img,
		      const struct object_id *layer, uint32_t root,
		      struct fail *why)
{
	struct layer *l = layer_set_find(vm->layers, layer);

	return l ? image_open(img, l, root, why)
		 : fail_set(why, EXIT_INTEGRITY, -ENOENT, vm->cfg->name, NULL,
			    "a layer of its snapshot is not there");
}

/* By a boot, or from where a snapshot has it. */
static int begin_guest(struct vm *vm, struct fail *why)
{
	const struct vm_restore *f = &vm->files->restore;
	struct restore r = {
		.how = { .clock = f->clock,
			 .vmgenid = f->new_identity ? f->vmgenid : NULL },
		.force_cpu = f->force_cpu,
		.src = &vm->src,
	};
	int err;

	if (!f->wanted)
		return machine_load(vm->machine, &vm->src, why);
	if ((err =
		 find_image(vm, &r.memory, &f->memory, f->memory_root, why)) ||
	    (err = find_image(vm, &r.state, &f->state, f->state_root, why)) ||
	    (err = restore_new(vm->machine, &r, why)))
		return err;
	/* What a new identity has changed is not in the snapshot. */
	err = capture_begin_from(vm->capture, &f->manifest, &r.memory);
	return err < 0
		   ? fail_set(why, EXIT_OWN_FAILURE, err, vm->cfg->name, NULL,
			      "switch the dirty log on: %s", strerror(-err))
		   : 0;
}

static int build(struct vm *vm, struct fail *why)
{
	struct machine_disk disk[CONFIG_MAX_DISKS];
	struct machine_config c = {
		.kvm_fd = vm->files->kvm,
		.cpus = vm->cfg->cpus,
		.memory_bytes = vm->cfg->memory_bytes,
		.loop = &vm->loop,
		.rng_fd = vm->files->rng,
		.agent_fd = vm->files->agent,
		.balloon = vm->cfg->balloon,
		.disk = disk,
		.ndisks = vm->cfg->ndisks,
		.vsock_fd = vm->files->vsock,
		.vsock_cid = vm->cfg->vsock_cid,
		.confine = sandbox_vcpu,
		.event = on_guest_event,
		.ctx = vm,
	};
	int r;

	r = setup_signals(vm);
	if (r < 0)
		return fail_set(why, EXIT_OWN_FAILURE, r, vm->cfg->name, NULL,
				"read signals: %s", strerror(-r));
	if ((r = set_source(vm, why)) || (r = create_console(vm, why)) ||
	    (r = open_layers(vm, why)) || (r = create_disks(vm, disk, why)))
		return r;
	c.console = vm->console;
	/* The machine's from here on. */
	vm->files->kvm = vm->files->rng = vm->files->agent = -1;
	vm->files->vsock = -1;
	take_nets(vm, &c);
	if ((r = machine_create(&vm->machine, &c, why)) ||
	    (r = create_capture(vm, why)) || (r = begin_guest(vm, why)))
		return r;
	if (vm->files->control < 0)
		return 0;
	r = control_create(&vm->control, &vm->loop, vm->files->control, ops,
			   ARRAY_SIZE(ops), vm);
	vm->files->control = -1;
	return r < 0 ? fail_set(why, EXIT_OWN_FAILURE, r, vm->cfg->name, NULL,
				"control socket: %s", strerror(-r))
		     : 0;
}

/* By then the guest has long begun. */
#define SETTLED_NS 50000000

static void on_settled(struct loop_timer *t)
{
	footprint_trim();
}

/* The last steps before the guest: what needs files or threads is done. */
static int launch(struct vm *vm, struct fail *why)
{
	int r;

	loop_timer_init(&vm->loop, &vm->settled, on_settled);
	loop_timer_init(&vm->loop, &vm->button, on_button);
	loop_timer_set(&vm->settled, SETTLED_NS);
	vm->started_ns = now_ns();
	vm->started = time(NULL);
	write_status(vm);
	r = sandbox_io();
	if (r < 0)
		return fail_set(why, EXIT_OWN_FAILURE, r, vm->cfg->name,
				"'tintype doctor' tells what this host lacks",
				"sandbox: %s", strerror(-r));
	if (vm->files->started >= 0) {
		static const char ok[] = "{\"ok\":true}\n";

		if (fd_write(vm->files->started, ok, sizeof(ok) - 1) < 0)
			log_debug(vm->cfg->name, "nobody waits for the start");
		close(vm->files->started);
		vm->files->started = -1;
	}
	machine_run(vm->machine);
	return 0;
}

static void tear_down(struct vm *vm)
{
	/* First: its job may be about any of the others. */
	writer_destroy(vm->writer);
	capture_destroy(vm->capture);
	if (vm->machine)
		machine_destroy(vm->machine);
	disk_set_destroy(vm->disks);
	layer_set_destroy(vm->layers);
	if (vm->console)
		console_destroy(vm->console);
	/* Last: who sees its connection end may take the VM for gone, and its
	 * name for free. */
	if (vm->control)
		control_destroy(vm->control);
	if (vm->signals.fd >= 0)
		close(vm->signals.fd);
	loop_timer_fini(&vm->loop, &vm->settled);
	loop_timer_fini(&vm->loop, &vm->button);
	loop_fini(&vm->loop);
	vm_files_close(vm->files);
}

int vm_run(const struct vm_config *c, struct vm_files *f, struct fail *why)
{
	struct vm vm = {
		.cfg = c, .files = f, .signals = { .fd = -1 }, .pid = getpid()
	};
	int r;

	r = vm_files_confine(f, why);
	if (r < 0) {
		vm_files_close(f);
		return (int)why->code;
	}
	r = loop_init(&vm.loop);
	if (r < 0)
		fail_set(why, EXIT_OWN_FAILURE, r, c->name, NULL,
			 "make the event loop: %s", strerror(-r));
	if (r || (r = build(&vm, why)) || (r = launch(&vm, why))) {
		tear_down(&vm);
		return (int)why->code;
	}
	r = loop_run(&vm.loop);
	if (r < 0) {
		fail_set(&vm.end, EXIT_OWN_FAILURE, r, c->name, NULL,
			 "wait for events: %s", strerror(-r));
		end_vm(&vm, EXIT_OWN_FAILURE, "failed");
	}
	write_status(&vm);
	tear_down(&vm);
	*why = vm.end;
	return vm.code;
}
