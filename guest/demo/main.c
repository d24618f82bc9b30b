/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demo guest: a small shell on the serial console, or the same commands
 * from the kernel command line.
 *
 * Words of the command line:
 *   run="cmd; cmd"  runs these without a prompt. The first that fails ends the
 *                   VM with its code; after the last one it powers off.
 *   deterministic   no clock and no input: output and RAM are a function of
 *                   memory size, CPUs and command line. Commands that need the
 *                   clock fail.
 */
#include "demo.h"

#define LINE_BYTES 1024
#define MAX_WORDS  32
#define DEL	   0x7f
#define CTRL(c)	   ((c)&0x1f)
#define ESC	   0x1b

const char guest_early[] = "t";
bool demo_deterministic;

static const struct command *const tables[] = {
	memory_commands,
	time_commands,
	cpu_commands,
	machine_commands,
	device_commands,
	balloon_commands,
	agent_commands,
	disk_commands,
	vsock_commands,
	net_commands,
};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

bool demo_number(unsigned argc, char **argv, unsigned i, uint64_t max,
		 uint64_t otherwise, uint64_t *v)
{
	*v = otherwise;
	if (i >= argc)
		return true;
	if (parse_u64(argv[i], v) && *v <= max)
		return true;
	print("%s: '%s' is no number up to %lu\n", argv[0], argv[i], max);
	return false;
}

static void help(void)
{
	for (unsigned t = 0; t < TABLES; t++)
		for (const struct command *c = tables[t]; c->name; c++)
			print("  %s%s%s\n        %s\n", c->name,
			      *c->args ? " " : "", c->args, c->what);
}

static const struct command *command_find(const char *name)
{
	for (unsigned t = 0; t < TABLES; t++)
		for (const struct command *c = tables[t]; c->name; c++)
			if (!strcmp(c->name, name))
				return c;
	return NULL;
}

static int command_run(unsigned argc, char **argv)
{
	const struct command *c = command_find(argv[0]);
	int code = DEMO_USAGE;

	if (!strcmp(argv[0], "help")) {
		help();
		return 0;
	}
	if (!c) {
		print("%s: no such command; help lists them\n", argv[0]);
		return DEMO_UNKNOWN;
	}
	if (c->clock && demo_deterministic) {
		print("%s: needs the clock, and this run is deterministic\n",
		      argv[0]);
		return DEMO_FAILED;
	}
	if (argc - 1 >= c->min_args && argc - 1 <= c->max_args)
		code = c->run(argc, argv);
	if (code == DEMO_USAGE)
		print("usage: %s %s\n", c->name, c->args);
	return code;
}

/* Splits a line into words, in place, and runs it. */
static int line_run(char *line)
{
	char *argv[MAX_WORDS];
	unsigned argc = 0;

	for (;;) {
		while (*line == ' ' || *line == '\t')
			*line++ = 0;
		if (!*line)
			break;
		if (argc == MAX_WORDS) {
			print("more than %u words\n", MAX_WORDS);
			return DEMO_USAGE;
		}
		argv[argc++] = line;
		while (*line && *line != ' ' && *line != '\t')
			line++;
	}
	return argc ? command_run(argc, argv) : 0;
}

/* Returns when all have been run. */
static void script_run(char *script)
{
	char *next;
	int code;

	for (; *script; script = next) {
		for (next = script; *next && *next != ';';)
			next++;
		if (*next)
			*next++ = 0;
		code = line_run(script);
		if (code)
			guest_exit((uint8_t)code);
	}
}

/* ---- reading a line ---- */

static void erase(size_t *n)
{
	if (!*n)
		return;
	--*n;
	print("\b \b");
}

/* A key that sends more than one byte: nothing here uses one. */
static void escape_skip(void)
{
	int c = console_get();

	if (c != '[' && c != 'O')
		return;
	do
		c = console_get();
	while (c < '@' || c > '~');
}

/* What the key does to the line; true at its end. */
static bool line_key(char *line, size_t *n, int c)
{
	switch (c) {
	case '\r':
	case '\n':
		print("\n");
		return true;
	case CTRL('C'):
		*n = 0;
		print("^C\n");
		return true;
	case CTRL('U'):
		while (*n)
			erase(n);
		return false;
	case '\b':
	case DEL:
		erase(n);
		return false;
	case ESC:
		escape_skip();
		return false;
	default:
		if (c < ' ' || c > '~' || *n == LINE_BYTES - 1)
			return false;
		line[(*n)++] = (char)c;
		put(&line[*n - 1], 1);
		return false;
	}
}

static void line_read(char *line)
{
	static int last GUEST_VOLATILE;
	bool after_cr;
	size_t n = 0;
	int c;

	do {
		after_cr = last == '\r';
		c = last = console_get();
	} while ((c == '\n' && after_cr) || !line_key(line, &n, c));
	line[n] = 0;
}

static uint64_t memory_mib(void)
{
	const struct boot_range *r;
	uint64_t bytes = 0;

	for (unsigned n = boot_memory(&r); n--; r++)
		if (r->type == 1)
			bytes += r->end - r->start;
	return (bytes + (1 << 20) - 1) >> 20;
}

int guest_main(void)
{
	static char line[LINE_BYTES] GUEST_VOLATILE;
	bool scripted;

	/* its first letter is out already */
	print("intype demo guest: %u CPUs, %lu MiB, type help\n", boot_cpus(),
	      memory_mib());
	demo_deterministic = boot_option("deterministic", line, sizeof(line));
	scripted = boot_option("run", line, sizeof(line));
	if (!demo_deterministic || !scripted) {
		console_listen();
		guest_watch_power_button();
	}
	if (scripted) {
		script_run(line);
		guest_poweroff();
	}
	guest_ready();
	for (;;) {
		print("tintype> ");
		line_read(line);
		line_run(line);
	}
}
