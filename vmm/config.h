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
#include "config_net.h"
#include "fail.h"

#define CONFIG_NAME_MAX 63

enum serial_kind {
	SERIAL_STDIO,  /* the terminal, or stdin and stdout */
	SERIAL_NONE,   /* the log and `tintype console` only */
	SERIAL_FILE,   /* appended */
	SERIAL_SOCKET, /* a UNIX socket is created and listened on */
};

enum on_reboot { ON_REBOOT_RESTART, ON_REBOOT_EXIT };

#define CONFIG_SERIAL_MAX  20 /* what a virtio disk can tell */
#define CONFIG_MAX_DISKS   8
#define CONFIG_DISK_ID_MAX 20

struct disk_config {
	char *path;
	char id[CONFIG_DISK_ID_MAX + 1]; /* default disk0, disk1... */
	/* Neither: a copy-on-write head in the VM's directory. */
	bool read_only, direct;
	bool qcow2; /* imported at the first start; else raw, never probed */
	char serial[CONFIG_SERIAL_MAX + 1]; /* "": the id */
	uint64_t bps, iops;		    /* 0: no limit */
};

struct vm_config {
	char name[CONFIG_NAME_MAX + 1]; /* [A-Za-z0-9][A-Za-z0-9_.-]* */
	bool named;			/* false: made up, gone when it ends */
	char *kernel;			/* NULL: the built-in demo guest */
	char *initrd;			/* NULL: none */
	char *cmdline;			/* never NULL; free by config_free */
	enum boot_protocol boot;
	uint64_t memory_bytes; /* whole pages */
	unsigned cpus;
	enum serial_kind serial;
	char *serial_path;   /* FILE, SOCKET */
	char *share_console; /* one more socket; NULL: none */
	enum on_reboot on_reboot;
	bool rng;	  /* a virtio-rng */
	bool balloon;	  /* a virtio-balloon */
	bool agent;	  /* a port for the guest agent */
	char *agent_path; /* its socket; NULL: in the VM's directory */
	struct disk_config disk[CONFIG_MAX_DISKS];
	unsigned ndisks;
	bool vsock;
	uint32_t vsock_cid;
	char *vsock_path; /* NULL: vsock.sock in the VM's directory */
	struct vm_net net[CONFIG_MAX_NETS];
	unsigned nnets;
};

#define CONFIG_DEFAULT_MEMORY MIB(512)
#define CONFIG_MIN_MEMORY     MIB(2)
#define CONFIG_MAX_MEMORY     GIB(16 * 1024)
#define CONFIG_MAX_CPUS	      1024  /* KVM's own limit is asked at the start */
#define CONFIG_CMDLINE_MAX    65536 /* with its NUL: PLATFORM_CMDLINE_MAX */
#define CONFIG_MAX_VIRTIO     16    /* ACPI_MAX_VIRTIO */
#define CONFIG_DEFAULT_CID    3
#define CONFIG_MAX_BYTES      65536 /* of a --config file */

void config_init(struct vm_config *c); /* the defaults */
void config_free(struct vm_config *c);

/*
 * One setting each, as the command line writes it; the rows of verbs.c and the
 * keys of the schema both come here. 0, or -errno with the message and hint
 * filled and no object: the caller knows where the value came from.
 */
int config_set_name(struct vm_config *c, const char *value, struct fail *why);
int config_set_kernel(struct vm_config *c, const char *value, struct fail *why);
int config_set_initrd(struct vm_config *c, const char *value, struct fail *why);
int config_set_cmdline(struct vm_config *c, const char *value,
		       struct fail *why);
int config_set_boot(struct vm_config *c, const char *value, struct fail *why);
int config_set_memory(struct vm_config *c, const char *value, struct fail *why);
int config_set_cpus(struct vm_config *c, const char *value, struct fail *why);
int config_set_serial(struct vm_config *c, const char *value, struct fail *why);
int config_set_share_console(struct vm_config *c, const char *value,
			     struct fail *why);
int config_set_on_reboot(struct vm_config *c, const char *value,
			 struct fail *why);
/* A flag: its value is ignored, the command line has none. */
int config_set_rng(struct vm_config *c, const char *value, struct fail *why);
int config_set_balloon(struct vm_config *c, const char *value,
		       struct fail *why);

/* NULL: in the VM's directory. */
int config_set_agent(struct vm_config *c, const char *value, struct fail *why);
/* PATH[,id=ID][,ro][,direct][,format=raw|qcow2][,serial=S][,bps=SIZE][,iops=N]:
 * one more disk. */
int config_add_disk(struct vm_config *c, const char *value, struct fail *why);
json_t *config_print_disks(const struct vm_config *c, bool *none);
/* "cid=N,path=SOCK", each may be left out; NULL and "": all of it. */
int config_set_vsock(struct vm_config *c, const char *value, struct fail *why);

/* Adds a network card; "none" takes all away that were named before. */
int config_set_net(struct vm_config *c, const char *value, struct fail *why);

/* The one schema of --config files, config.json in a VM's directory, and the
 * API. Unknown keys, wrong types and values out of range are refused with the
 * key named. Parsing changes only what the document holds; after a
 * failure `c` holds some of it and is only good for config_free. */
int config_from_json(struct vm_config *c, const json_t *doc, struct fail *why);
int config_from_text(struct vm_config *c, const char *text, size_t len,
		     struct fail *why);
json_t *config_to_json(const struct vm_config *c); /* NULL: no memory */

/* "512M", "2G", "512MiB", "1048576": binary multiples K M G T. "17": digits
 * alone. 0, or -EINVAL (also when it does not fit 64 bits). */
int config_parse_size(const char *s, uint64_t *bytes);
int config_parse_count(const char *s, uint64_t *out);

bool config_name_valid(const char *name);

/* The next part of "PART,PART..." (",," is a comma in it), unescaped and cut
 * off in place; NULL at the end. *rest is where to go on, NULL after the last.
 */
char *config_next_part(char **rest);

#endif
