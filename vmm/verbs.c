/* SPDX-License-Identifier: Apache-2.0 */
/* The table of verbs and their options. */
#include "verbs.h"

#include "cli.h"
#include "cli_progress.h"
#include "util.h"

/* A row's setter for one field of the configuration. */
#define CONFIG_SETTER(field)                                                   \
	static int set_##field(void *args, const char *value,                  \
			       struct fail *why)                               \
	{                                                                      \
		struct run_args *a = args;                                     \
                                                                               \
		return config_set_##field(&a->config, value, why);             \
	}
CONFIG_SETTER(name)
CONFIG_SETTER(kernel)
CONFIG_SETTER(initrd)
CONFIG_SETTER(cmdline)
CONFIG_SETTER(boot)
CONFIG_SETTER(memory)
CONFIG_SETTER(cpus)
CONFIG_SETTER(serial)
CONFIG_SETTER(share_console)
CONFIG_SETTER(on_reboot)
CONFIG_SETTER(net)
CONFIG_SETTER(rng)
CONFIG_SETTER(balloon)
CONFIG_SETTER(agent)
CONFIG_SETTER(vsock)

static int add_disk(void *args, const char *value, struct fail *why)
{
	struct run_args *a = args;

	return config_add_disk(&a->config, value, why);
}

/* For a VM that goes on from a snapshot. */
#define CLOCK_ROW                                                              \
	{                                                                      \
		.name = "clock", .argument = "POLICY",                         \
		.values = "continue advance", .set = run_set_clock,            \
		.help = "the guest's clocks: continue (the default), or "      \
			"advance by the time since"                            \
	}
#define KEEP_IDENTITY_ROW                                                      \
	{                                                                      \
		.name = "keep-identity", .set = run_set_keep_identity,         \
		.help = "do not tell the guest that it is a copy"              \
	}
#define FORCE_CPU_ROW                                                          \
	{                                                                      \
		.name = "force-cpu", .set = run_set_force_cpu,                 \
		.help = "on a processor that lacks what the guest was shown"   \
	}

#define JSON_ROW                                                               \
	{                                                                      \
		.name = "json", .help = "print one JSON document"              \
	}
#define QUIET_ROW(what)                                                        \
	{                                                                      \
		.name = "quiet", .letter = 'q', .help = what                   \
	}

/* What is elsewhere on another host, or for a copy. */
#define HOST_ROWS                                                              \
	{ .name = "kernel",                                                    \
	  .letter = 'k',                                                       \
	  .argument = "FILE",                                                  \
	  .set = set_kernel,                                                   \
	  .help = "bzImage or ELF kernel; default: the built-in demo guest" }, \
	    { .name = "initrd",                                                \
	      .argument = "FILE",                                              \
	      .set = set_initrd,                                               \
	      .help = "initial RAM disk for the kernel" },                     \
	    { .name = "serial",                                                \
	      .argument = "WHERE",                                             \
	      .values = "stdio none file= socket=",                            \
	      .set = set_serial,                                               \
	      .help =                                                          \
		  "the serial console: stdio (the default), none, file=PATH, " \
		  "socket=PATH" },                                             \
	    { .name = "share-console",                                         \
	      .argument = "SOCK",                                              \
	      .set = set_share_console,                                        \
	      .help = "offer the console on this UNIX socket as well" },       \
	    { .name = "net",                                                   \
	      .argument = "WHERE",                                             \
	      .repeatable = true,                                              \
	      .values = "tap= fd= passt unplugged none",                                 \
	      .set = set_net,                                                  \
	      .help =                                                          \
		  "a network card on tap=IF, fd=N, passt or passt=SOCKET" },   \
	    { .name = "agent",                                                 \
	      .argument = "SOCK",                                              \
	      .optional = true,                                                \
	      .set = set_agent,                                                \
	      .help = "serve the guest agent's port at a UNIX socket: see "    \
		      "tintype-run(1)" },                                      \
	    { .name = "disk",                                                  \
	      .argument = "PATH,...",                                          \
	      .repeatable = true,                                              \
	      .set = add_disk,                                                 \
	      .help = "a disk over a file that stays as it is; ,ro ,direct "   \
		      ",id=ID "                                                \
		      "and more" },                                            \
	{                                                                      \
		.name = "vsock", .argument = "cid=N,path=SOCK",                \
		.optional = true, .set = set_vsock,                            \
		.help = "give the guest a virtio-vsock, sockets to the host "  \
			"(CID 3, vsock.sock)"                                  \
	}

static const struct option_row run_options[] = {
	{ .name = "name",
	  .letter = 'n',
	  .argument = "NAME",
	  .set = set_name,
	  .help = "the VM's name; one is made up when left out" },
	HOST_ROWS,
	{ .name = "cmdline",
	  .argument = "TEXT",
	  .set = set_cmdline,
	  .help = "the kernel's command line" },
	{ .name = "memory",
	  .letter = 'm',
	  .argument = "SIZE",
	  .set = set_memory,
	  .help = "guest RAM, e.g. 512M (the default) or 2G" },
	{ .name = "cpus",
	  .letter = 'c',
	  .argument = "N",
	  .set = set_cpus,
	  .help = "virtual CPUs, default 1" },
	{ .name = "boot",
	  .argument = "PROTOCOL",
	  .values = "auto linux64 pvh",
	  .set = set_boot,
	  .help = "how the kernel is entered: auto (the default), linux64, "
		  "pvh" },
	{ .name = "rng",
	  .set = set_rng,
	  .help = "give the guest a virtio-rng, a source of random bytes" },
	{ .name = "balloon",
	  .set = set_balloon,
	  .help = "let the guest give RAM back: see tintype-balloon(1)" },
	{ .name = "config",
	  .argument = "F.json",
	  .set = run_set_config,
	  .help = "read settings from a file; options override them" },
	{ .name = "from",
	  .argument = "VM@SNAP",
	  .set = run_set_from,
	  .help = "go on from a snapshot: see tintype-run(1)" },
	CLOCK_ROW,
	KEEP_IDENTITY_ROW,
	FORCE_CPU_ROW,
	{ .name = "on-reboot",
	  .argument = "ACTION",
	  .values = "restart exit",
	  .set = set_on_reboot,
	  .help = "what a reboot of the guest does: restart (the default), "
		  "exit" },
	{ .name = "detach",
	  .letter = 'd',
	  .set = run_set_detach,
	  .help = "run in the background and print the name" },
	{ .name = "wait-ready",
	  .argument = "SECONDS",
	  .optional = true,
	  .set = run_set_wait_ready,
	  .help = "with --detach: until the guest says that it is ready, "
		  "default 60" },
	{ .name = "dry-run",
	  .set = run_set_dry_run,
	  .help = "check, print the resolved configuration, start nothing" },
	{ .name = "json",
	  .set = run_set_json,
	  .help = "print one JSON document (with --detach), failures too" },
	{ .name = "quiet",
	  .letter = 'q',
	  .set = run_set_quiet,
	  .help = "say nothing about how the VM ended" },
};

static const struct option_row ps_options[] = {
	{ .name = "all", .letter = 'a', .help = "also VMs that have ended" },
	JSON_ROW,
	QUIET_ROW("names only"),
};

static const struct option_row json_options[] = { JSON_ROW };

static const struct option_row logs_options[] = {
	{ .name = "follow",
	  .letter = 'f',
	  .help = "go on printing until the VM ends" },
};

static const struct option_row stop_options[] = {
	{ .name = "kill", .help = "end it at once, as pulling the plug" },
	{ .name = "timeout",
	  .letter = 't',
	  .argument = "SECONDS",
	  .help = "how long the guest may take to power off, default 30" },
	JSON_ROW,
	QUIET_ROW("print nothing"),
};

static const struct option_row act_options[] = {
	JSON_ROW,
	QUIET_ROW("print nothing"),
};

static const struct option_row balloon_options[] = {
	{ .name = "target",
	  .letter = 't',
	  .argument = "SIZE",
	  .help = "how much RAM the guest shall keep, e.g. 256M" },
	JSON_ROW,
};

static const struct option_row rm_options[] = {
	{ .name = "all", .letter = 'a', .help = "every VM that has ended" },
	JSON_ROW,
	QUIET_ROW("print nothing"),
};

#define KEY_FILE_ROW                                                           \
	{                                                                      \
		.name = "key-file", .letter = 'k', .argument = "FILE",         \
		.help = "the 32 bytes from which encrypted layers have "       \
			"their keys"                                           \
	}
#define BELOW_ROW                                                              \
	{                                                                      \
		.name = "below", .argument = "FILE",                           \
		.help = "the raw file on which an image lies, if it does"      \
	}

static const struct option_row image_create_options[] = {
	{ .name = "format",
	  .letter = 'f',
	  .argument = "raw",
	  .values = "raw",
	  .help = "take the file as raw, whatever it looks like" },
	{ .name = "parent",
	  .letter = 'p',
	  .argument = "IMAGE",
	  .help = "store only what differs from this one" },
	{ .name = "compress", .letter = 'c', .help = "compress by zstd" },
	{ .name = "encrypt", .help = "encrypt by AES-256-GCM" },
	{ .name = "plain",
	  .help = "store readable what differs from an encrypted parent" },
	KEY_FILE_ROW,
	PROGRESS_ROW,
	JSON_ROW,
};

static const struct option_row image_info_options[] = {
	KEY_FILE_ROW,
	JSON_ROW,
};

static const struct option_row image_check_options[] = {
	{ .name = "data", .help = "read all data too, and check its sums" },
	KEY_FILE_ROW,
	PROGRESS_ROW,
	JSON_ROW,
};

static const struct option_row image_compare_options[] = {
	BELOW_ROW,
	KEY_FILE_ROW,
	PROGRESS_ROW,
	JSON_ROW,
};

static const struct option_row image_export_options[] = {
	{ .name = "root",
	  .argument = "N",
	  .help = "which image of a layer that has several, default 0" },
	BELOW_ROW,
	KEY_FILE_ROW,
	PROGRESS_ROW,
	JSON_ROW,
};

static const struct option_row image_bench_options[] = {
	{ .name = "reads",
	  .letter = 'n',
	  .argument = "N",
	  .help = "how many, default 100000" },
	{ .name = "block",
	  .letter = 'b',
	  .argument = "SIZE",
	  .help = "bytes of a read, a multiple of 4K, the default" },
	{ .name = "seed",
	  .argument = "N",
	  .help = "which random reads, default 1" },
	{ .name = "sequential",
	  .letter = 's',
	  .help = "read in order, not at random" },
	{ .name = "root",
	  .argument = "N",
	  .help = "which image of a layer that has several, default 0" },
	BELOW_ROW,
	KEY_FILE_ROW,
	JSON_ROW,
};

static const struct option_row snapshot_create_options[] = {
	{ .name = "description",
	  .argument = "TEXT",
	  .help = "what it is, for people" },
	{ .name = "label",
	  .letter = 'l',
	  .argument = "KEY=VALUE",
	  .repeatable = true,
	  .help = "what it is, for programs" },
	{ .name = "disk-only",
	  .help = "no memory: for a fresh boot from these disks" },
	{ .name = "stop",
	  .help = "end the VM with it; 'snapshot restore' lets it go on" },
	{ .name = "expiry",
	  .argument = "TIME",
	  .help = "from when on it may be removed by itself, e.g. 12h, 3d" },
	PROGRESS_ROW,
	JSON_ROW,
	QUIET_ROW("print nothing"),
};

static const struct option_row snapshot_restore_options[] = {
	{ .name = "discard",
	  .help = "give up what the VM is now, without a snapshot of it" },
	CLOCK_ROW,
	KEEP_IDENTITY_ROW,
	{ .name = "new-identity",
	  .help = "tell the guest that it is a copy, after --stop too" },
	FORCE_CPU_ROW,
	HOST_ROWS,
	PROGRESS_ROW,
	JSON_ROW,
	QUIET_ROW("do not say what was saved before"),
};

static const struct option_row snapshot_clone_options[] = {
	{ .name = "count",
	  .letter = 'n',
	  .argument = "N",
	  .help = "so many: NEW-1 to NEW-N" },
	CLOCK_ROW,
	KEEP_IDENTITY_ROW,
	FORCE_CPU_ROW,
	HOST_ROWS,
	JSON_ROW,
};

static const struct option_row snapshot_list_options[] = {
	{ .name = "tree",
	  .letter = 't',
	  .help = "each below the one that it was taken after" },
	JSON_ROW,
	QUIET_ROW("names only"),
};

static const struct option_row snapshot_diff_options[] = {
	PROGRESS_ROW,
	JSON_ROW,
};

static const struct option_row snapshot_delete_options[] = {
	{ .name = "children",
	  .help = "also those that were taken after it, and after them" },
	JSON_ROW,
	QUIET_ROW("print nothing"),
};

#define OPTIONS(rows) .options = (rows), .noptions = ARRAY_SIZE(rows)

static const struct verb verbs[] = {
	{ .name = "run",
	  .summary = "boot a VM; the serial console is the terminal "
		     "(escape: ~.)",
	  .rest = "INIT-ARGS",
	  OPTIONS(run_options),
	  .run = cli_run },
	{ .name = "ps",
	  .aliases = { "ls", "list" },
	  .summary = "list the VMs",
	  OPTIONS(ps_options),
	  .run = cli_ps },
	{ .name = "inspect",
	  .summary = "show everything about a VM",
	  .operands = "VM",
	  .min = 1,
	  .max = 1,
	  OPTIONS(json_options),
	  .run = cli_inspect },
	{ .name = "logs",
	  .summary = "print what a VM's console said",
	  .operands = "VM",
	  .min = 1,
	  .max = 1,
	  OPTIONS(logs_options),
	  .run = cli_logs },
	{ .name = "console",
	  .aliases = { "attach" },
	  .summary = "connect the terminal to a VM's console (escape: ~.)",
	  .operands = "VM",
	  .min = 1,
	  .max = 1,
	  .run = cli_console },
	{ .name = "stop",
	  .aliases = { "shutdown" },
	  .summary = "press a VM's power button, or end it at once",
	  .operands = "VM...",
	  .min = 1,
	  .max = OPTIONS_MAX_OPERANDS,
	  OPTIONS(stop_options),
	  .run = cli_stop },
	{ .name = "pause",
	  .aliases = { "suspend" },
	  .summary = "stop a VM's processors",
	  .operands = "VM...",
	  .min = 1,
	  .max = OPTIONS_MAX_OPERANDS,
	  OPTIONS(act_options),
	  .run = cli_pause },
	{ .name = "resume",
	  .aliases = { "unpause" },
	  .summary = "let a paused VM run on",
	  .operands = "VM...",
	  .min = 1,
	  .max = OPTIONS_MAX_OPERANDS,
	  OPTIONS(act_options),
	  .run = cli_resume },
	{ .name = "balloon",
	  .aliases = { "setmem" },
	  .summary = "show or set how much RAM a guest keeps",
	  .operands = "VM",
	  .min = 1,
	  .max = 1,
	  OPTIONS(balloon_options),
	  .run = cli_balloon },
	{ .name = "rm",
	  .aliases = { "delete", "undefine" },
	  .summary = "remove what is left of VMs that have ended",
	  .operands = "[VM...]",
	  .max = OPTIONS_MAX_OPERANDS,
	  OPTIONS(rm_options),
	  .run = cli_rm },
	{ .name = "image create",
	  .aliases = { "image import" },
	  .summary = "make an image of a raw file, which is not changed",
	  .operands = "RAW IMAGE",
	  .min = 2,
	  .max = 2,
	  OPTIONS(image_create_options),
	  .run = cli_image_create },
	{ .name = "image info",
	  .aliases = { "image inspect", "image show" },
	  .summary = "say what an image is, and what it needs",
	  .operands = "IMAGE",
	  .min = 1,
	  .max = 1,
	  OPTIONS(image_info_options),
	  .run = cli_image_info },
	{ .name = "image check",
	  .aliases = { "image verify" },
	  .summary = "check whether images are whole",
	  .operands = "IMAGE...",
	  .min = 1,
	  .max = OPTIONS_MAX_OPERANDS,
	  OPTIONS(image_check_options),
	  .run = cli_image_check },
	{ .name = "image compare",
	  .aliases = { "image diff" },
	  .summary = "say whether two images or raw files have the same "
		     "content",
	  .operands = "IMAGE IMAGE",
	  .min = 2,
	  .max = 2,
	  OPTIONS(image_compare_options),
	  .run = cli_image_compare },
	{ .name = "image export",
	  .summary = "write an image to a raw file, or to stdout (-)",
	  .operands = "IMAGE RAW",
	  .min = 2,
	  .max = 2,
	  OPTIONS(image_export_options),
	  .run = cli_image_export },
	{ .name = "image bench",
	  .summary = "measure how fast an image is read",
	  .operands = "IMAGE",
	  .min = 1,
	  .max = 1,
	  OPTIONS(image_bench_options),
	  .run = cli_image_bench },
	{ .name = "snapshot create",
	  .aliases = { "snapshot take" },
	  .summary = "take a snapshot of a running VM",
	  .operands = "VM[@NAME]",
	  .min = 1,
	  .max = 1,
	  OPTIONS(snapshot_create_options),
	  .run = cli_snapshot_create },
	{ .name = "snapshot restore",
	  .aliases = { "snapshot revert" },
	  .summary = "let a VM go on from one of its snapshots",
	  .operands = "VM@SNAP",
	  .min = 1,
	  .max = 1,
	  OPTIONS(snapshot_restore_options),
	  .run = cli_snapshot_restore },
	{ .name = "snapshot clone",
	  .aliases = { "snapshot fork" },
	  .summary = "start new VMs that go on from a snapshot",
	  .operands = "VM@SNAP NEW",
	  .min = 2,
	  .max = 2,
	  OPTIONS(snapshot_clone_options),
	  .run = cli_snapshot_clone },
	{ .name = "snapshot list",
	  .aliases = { "snapshot ls" },
	  .summary = "list the snapshots of a VM, or of all",
	  .operands = "[VM]",
	  .max = 1,
	  OPTIONS(snapshot_list_options),
	  .run = cli_snapshot_list },
	{ .name = "snapshot show",
	  .aliases = { "snapshot inspect", "snapshot info" },
	  .summary = "show everything about a snapshot",
	  .operands = "VM@SNAP",
	  .min = 1,
	  .max = 1,
	  OPTIONS(json_options),
	  .run = cli_snapshot_show },
	{ .name = "snapshot diff",
	  .aliases = { "snapshot compare" },
	  .summary = "say in what two snapshots differ",
	  .operands = "VM@A VM@B",
	  .min = 2,
	  .max = 2,
	  OPTIONS(snapshot_diff_options),
	  .run = cli_snapshot_diff },
	{ .name = "snapshot delete",
	  .aliases = { "snapshot rm", "snapshot remove" },
	  .summary = "delete snapshots, and what nothing else needs",
	  .operands = "VM@SNAP...",
	  .min = 1,
	  .max = OPTIONS_MAX_OPERANDS,
	  OPTIONS(snapshot_delete_options),
	  .run = cli_snapshot_delete },
	{ .name = "doctor",
	  .summary = "check what this host offers, and say "
		     "how to get what is missing",
	  OPTIONS(json_options),
	  .run = cli_doctor },
	{ .name = "version",
	  .summary = "print the version",
	  OPTIONS(json_options),
	  .run = cli_version },
	{ .name = "completion",
	  .summary = "print a completion script for "
		     "bash, zsh or fish",
	  .operands = "SHELL",
	  .min = 1,
	  .max = 1,
	  .run = cli_completion },
	{ .name = "help",
	  .summary = "explain tintype, or a verb",
	  .operands = "[VERB]",
	  .max = 2, /* the words of one verb */
	  .run = cli_help },
};

static const struct noun nouns[] = {
	{ "image", "work with the files that hold disks" },
	{ "snapshot", "work with what VMs were at some time" },
};

static const struct foreign_verb foreign[] = {
	{ "create", "run --detach", NULL },
	{ "destroy", "stop --kill", NULL },
	{ "dominfo", "inspect", NULL },
	{ "dommemstat", "balloon", NULL },
	{ "image commit", NULL,
	  "an image never changes: 'image export', then 'image create'" },
	{ "image convert", "image export", NULL },
	{ "image flatten", NULL,
	  "'image export', then 'image create' without --parent" },
	{ "image ls", NULL,
	  "images are files: see what one is by 'image info'" },
	{ "image rebase", NULL,
	  "'image export', then 'image create --parent'" },
	{ "image resize", NULL,
	  "an image never changes: 'image export', then truncate -s SIZE, then "
	  "'image create'" },
	{ "image rm", NULL,
	  "images are files: remove it by rm, if no other needs it" },
	{ "info", "inspect", NULL },
	{ "kill", "stop --kill", NULL },
	{ "prune", "rm --all", NULL },
	{ "show", "inspect", NULL },
	{ "start", "run --detach", NULL },
	{ "status", "ps", NULL },
};

const struct verb_table tintype_verbs = {
	.verbs = verbs,
	.nverbs = ARRAY_SIZE(verbs),
	.nouns = nouns,
	.nnouns = ARRAY_SIZE(nouns),
	.foreign = foreign,
	.nforeign = ARRAY_SIZE(foreign),
};
