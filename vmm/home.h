/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where VMs live: $TINTYPE_HOME, else as root /var/lib/tintype, else
 * $XDG_DATA_HOME/tintype, else ~/.local/share/tintype.
 *
 *   HOME/store/                 its snapshots: snapshot/store.h
 *   HOME/vms/NAME/lock          held (OFD lock) by the VM's process while it
 *                               lives; says whether the VM stays when it ended
 *   HOME/vms/NAME/config.json   what it was started with
 *   HOME/vms/NAME/state.json    how it is, written by its process
 *   HOME/vms/NAME/console.log   what it printed, bounded
 *   HOME/vms/NAME/vmm.log       a detached VM's own messages
 *   HOME/vms/NAME/control.sock  console.sock  agent.sock  vsock.sock
 *   HOME/vms/NAME/heads/, bases/, roots.json, capture.lock
 *                               its disks: vmm/disk_open.h
 *
 * The lock is the truth: the kernel drops it when the process dies in any way,
 * so a VM that was killed leaves a dead directory, which the next `run` of
 * that name takes over, with the VM's disks, and which is swept away when the
 * VM had no name of its own. The lock file is unlinked only by its holder; who
 * locks a file that has no name any more tries again.
 *
 * Directories are 0700 and ours; symlinks and what belongs to others are
 * refused. Everything is reached from directory fds, and sockets through
 * /proc/self/fd, so that a home with a long path works (a socket's address
 * holds 107 bytes).
 *
 * Owner: any thread; nothing is cached.
 */
#ifndef TINTYPE_HOME_H
#define TINTYPE_HOME_H

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

#include "config.h"
#include "fail.h"

struct vm_dir {
	int fd;	  /* the VM's directory */
	int lock; /* its lock file; held when claimed */
	char name[CONFIG_NAME_MAX + 1];
};

#define VM_DIR_NONE                                                            \
	{                                                                      \
		.fd = -1, .lock = -1                                           \
	}

/* The home's path, in `buf`. 0 or -errno with `why`. */
int home_path(char *buf, size_t len, struct fail *why);

/* Opens the home, makes it first when `create`: as home_open. */
int home_open_top(bool create, struct fail *why);

/* Opens HOME/vms, makes it first when `create`. An fd; -ENOENT (no `why`
 * filled) when it is not there; or -errno with `why`. */
int home_open(bool create, struct fail *why);

/*
 * Takes the name for this process: makes the directory or takes over a dead
 * one, of which only the disks stay. With name NULL makes one up,
 * auto-%Y%m%dT%H%M%SZ (and -2, -3 within a second). `keep`: it stays when the
 * VM has ended. EXIT_CONFLICT when a VM of that name lives. 0 or -errno with
 * `why`.
 */
int home_claim(int vms, const char *name, bool keep, struct vm_dir *d,
	       struct fail *why);

/* The made-up name of a time after 1970, UTC. */
void home_made_up_name(char *buf, size_t len, time_t now);

/* Whether a VM of that name lives; false also when there is none. */
bool home_alive(int vms, const char *name);

/* Opens an existing VM's directory without locking it. EXIT_NOT_FOUND. */
int home_find(int vms, const char *name, struct vm_dir *d, struct fail *why);

/* Whether the VM's process lives (its lock is held). */
bool vm_dir_alive(const struct vm_dir *d);

/* Removes a VM that ended. EXIT_WRONG_STATE when it lives. */
int home_remove(int vms, const char *name, struct fail *why);

/* Removes dead directories of VMs that were not to be kept. Does nothing while
 * there are at most `spare` made-up names, as removing one takes a quarter of
 * what starting a VM may take; looks at `look` of them. */
void home_sweep(int vms, unsigned spare, unsigned look);

/* Calls `fn` for each VM, by name, until it returns non-zero; returns that. */
int home_each(int vms, int (*fn)(void *ctx, struct vm_dir *d), void *ctx);

void vm_dir_close(struct vm_dir *d);

/* Opens a file of the VM: never through a symlink, never of another's. */
int vm_dir_open(const struct vm_dir *d, const char *file, int flags);

/* A small JSON file of the VM; NULL when it is missing or none. */
json_t *vm_dir_read_json(const struct vm_dir *d, const char *file);
/* -EFBIG, with nothing written, where it could not be read again. */
int vm_dir_write_json(const struct vm_dir *d, const char *file,
		      const json_t *doc);

/* A listening UNIX socket at `name` in the directory, mode 0600; a client's
 * connection to it (-EAGAIN when its queue is full). An fd or -errno; paths
 * of any length. */
int home_listen_at(int dir, const char *name);
int home_connect_at(int dir, const char *name);

/* The same for a path that the user gave: a dead socket there is replaced,
 * anything else is -EEXIST, one that answers is -EADDRINUSE. */
int home_listen_path(const char *path);
/* Its two steps: the path's directory, and its last part; what listens there.
 */
int home_open_parent(const char *path, const char **base);
int home_listen_in(int dir, const char *base);

/* /proc/self/fd/N/name, for control_connect. */
#define HOME_SOCKET_PATH_MAX 64
void home_socket_path(char buf[HOME_SOCKET_PATH_MAX], int dir,
		      const char *name);

#endif
