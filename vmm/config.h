/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM is to be, as the command line and a config file say it. Plain
 * data: paths, sizes, names; nothing is opened here.
 */
#ifndef TINTYPE_CONFIG_H
#define TINTYPE_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "boot.h"
#include "fail.h"

#define CONFIG_NAME_MAX 63

enum serial_kind {
	SERIAL_STDIO,  /* the terminal, or stdin and stdout */
	SERIAL_NONE,   /* the log and `tintype console` only */
	SERIAL_FILE,   /* appended */
	SERIAL_SOCKET, /* a UNIX socket is created and listened on */
};

enum on_reboot { ON_REBOOT_RESTART, ON_REBOOT_EXIT };

struct vm_config {
	char name[CONFIG_NAME_MAX + 1]; /* [A-Za-z0-9][A-Za-z0-9_.-]* */
	bool named;                     /* false: made up, gone when it ends */
	char *kernel;                   /* NULL: the built-in demo guest */
	char *initrd;                   /* NULL: none */
	char *cmdline;                  /* never NULL */
	enum boot_protocol boot;
	uint64_t memory_bytes; /* whole pages */
	unsigned cpus;
	enum serial_kind serial;
	char *serial_path;   /* FILE, SOCKET */
	char *share_console; /* one more socket; NULL: none */
	enum on_reboot on_reboot;
};

#define CONFIG_DEFAULT_MEMORY MIB(512)
#define CONFIG_MIN_MEMORY     MIB(2)

void config_init(struct vm_config *c); /* the defaults */
void config_free(struct vm_config *c);

/* The one schema of --config files, config.json in a VM's directory, and the
 * API. Unknown keys, wrong types and values out of range are refused with the
 * key named. Parsing changes only what the document holds. */
int config_from_json(struct vm_config *c, const json_t *doc, struct fail *why);
json_t *config_to_json(const struct vm_config *c); /* NULL: no memory */

/* "512M", "2G", "1048576": binary multiples K M G T. 0 or -EINVAL. */
int config_parse_size(const char *s, uint64_t *bytes);

bool config_name_valid(const char *name);

#endif
