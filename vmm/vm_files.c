/* SPDX-License-Identifier: Apache-2.0 */
/* All files of a VM, listed once. */
#include "vm_files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "sandbox.h"
#include "util.h"

/* The console's ends get file descriptions of their own, which do not block;
 * where that is refused, it has its ways with those we were given. The numbers
 * we were given stay open if they are the process's first three. */
static void own_console(struct vm_files *f)
{
	int fd = f->in >= 0 ? console_reopen(f->in, O_RDONLY) : -1;

	if (fd >= 0)
		f->in = fd;
	fd = f->out >= 0 ? console_reopen(f->out, O_WRONLY) : -1;
	if (fd >= 0)
		f->out = fd;
}

struct fd_list {
	int *fd;
	unsigned n;
};

static void add(struct fd_list *l, const int *fd, unsigned n)
{
	if (n)
		memcpy(l->fd + l->n, fd, n * sizeof(*fd));
	l->n += n;
}

/* All of them, -1 among them; the caller frees l->fd. -ENOMEM. */
static int list_all(const struct vm_files *f, struct fd_list *l)
{
	const int own[] = { f->kvm,    f->kernel,     f->initrd,
			    f->rng,    f->vsock,      f->in,
			    f->out,    f->log,	      f->control,
			    f->agent,  f->console[0], f->console[1],
			    f->status, f->started,    f->ready,
			    f->lock,   f->pagemap };
	unsigned room = ARRAY_SIZE(own) + CONFIG_MAX_NETS + f->nlayers +
			CONFIG_MAX_DISKS * (3 + DISK_MAX_FROZEN);

	*l = (struct fd_list){ .fd = calloc(room, sizeof(*l->fd)) };
	if (!l->fd)
		return -ENOMEM;
	add(l, own, ARRAY_SIZE(own));
	add(l, f->net, CONFIG_MAX_NETS);
	add(l, f->layer, f->nlayers);
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++) {
		const struct disk_files *d = &f->disk[i];
		const int of_disk[] = { d->base, d->lock, d->head };

		add(l, of_disk, ARRAY_SIZE(of_disk));
		add(l, d->below, MIN(d->nbelow, DISK_MAX_FROZEN));
	}
	return 0;
}

int vm_files_confine(struct vm_files *f, struct fail *why)
{
	struct fd_list all;
	int r;

	own_console(f);
	r = list_all(f, &all);
	if (r == 0)
		r = sandbox_close_others(all.fd, all.n);
	free(all.fd);
	if (r < 0)
		return fail_set(why, EXIT_OWN_FAILURE, r, "sandbox", NULL,
				"close inherited files: %s", strerror(-r));
	return sandbox_harden(why);
}

void vm_files_close(struct vm_files *f)
{
	cleanup_close(&f->kvm);
	cleanup_close(&f->pagemap);
	for (unsigned i = 0; i < f->nlayers; i++)
		cleanup_close(&f->layer[i]);
	free(f->layer);
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		disk_files_free(&f->disk[i]);
	f->kvm = f->pagemap = -1;
	f->layer = NULL;
	f->nlayers = 0;
}
