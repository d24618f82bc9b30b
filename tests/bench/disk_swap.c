/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a capture costs a VM's disks. One line of JSON: the median and the
 * maximum of each step in microseconds, for all disks together.
 *
 *   disk_swap DISKS [CAPTURES]
 *
 * Each disk has 64 MiB, of which 1,000 blocks at random are written before each
 * capture and not flushed. Files are in TMPDIR.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk_dir.h"
#include "disk_set.h"
#include "disk_store.h"
#include "machine.h"
#include "util.h"

#define BYTES	 MIB(64)
#define BLOCKS	 1000
#define CAPTURES 31

static struct fail why;

static void check(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "disk_swap: %s: %s %s\n", what, strerror(-err),
		why.message);
	exit(1);
}

struct vm {
	struct loop loop;
	struct vm_config config;
	struct disk_files files[CONFIG_MAX_DISKS];
	struct disk_set *set;
	struct machine_disk disk[CONFIG_MAX_DISKS];
	/* Of the head in use; of the next one. */
	int ro[CONFIG_MAX_DISKS], next_ro[CONFIG_MAX_DISKS];
	uint8_t uid[CONFIG_MAX_DISKS][UID_BYTES];
};

/* A nameless one, and the same read-only. */
static int new_head(struct head_info *info, int *ro)
{
	const char *tmp = getenv("TMPDIR");
	char path[64];
	int fd = open(tmp ? tmp : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	check(fd < 0 ? -errno : 0, "make a file");
	check(head_create(fd, "head", info, 16, &why), "make a head");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*ro = open(path, O_RDONLY | O_CLOEXEC);
	return fd;
}

static void make_vm(struct vm *vm, unsigned disks)
{
	struct disk_set_config c = { .loop = &vm->loop,
				     .vm = &vm->config,
				     .files = vm->files };

	check(loop_init(&vm->loop), "make a loop");
	config_init(&vm->config);
	vm->config.ndisks = disks;
	for (unsigned i = 0; i < disks; i++) {
		const struct disk_files none = DISK_FILES_NONE;
		struct head_info info = { .bytes = BYTES };

		snprintf(vm->config.disk[i].id, sizeof(vm->config.disk[i].id),
			 "disk%u", i);
		vm->files[i] = none;
		vm->files[i].head = new_head(&info, &vm->ro[i]);
		vm->files[i].bytes = BYTES;
		memcpy(vm->uid[i], info.uid, UID_BYTES);
	}
	check(disk_set_create(&vm->set, &c, &why), "open the disks");
	disk_set_describe(vm->set, &vm->config, vm->disk);
}

static void on_done(struct disk_request *r, int result)
{
	check(result, "write");
	*(bool *)r->owner = true;
}

static void write_some(struct vm *vm, struct disk *d)
{
	static uint8_t block[4096];

	for (unsigned i = 0; i < BLOCKS; i++) {
		struct iovec iov = { block, sizeof(block) };
		bool over = false;
		struct disk_request r = {
			.op = DISK_WRITE,
			.offset = (uint64_t)rand() % (BYTES / 4096) * 4096,
			.bytes = sizeof(block),
			.iov = &iov,
			.niov = 1,
			.done = on_done,
			.owner = &over,
		};

		memset(block, rand(), sizeof(block));
		d->ops->submit(d, &r);
		d->ops->drain(d);
	}
}

enum step { PREPARE, SWAP, SEAL, ADOPT, STEPS };
static const char *const names[] = { "prepare", "swap", "seal", "adopt" };

static void capture(struct vm *vm, uint64_t ns[STEPS])
{
	int fds[2 * CONFIG_MAX_DISKS];
	char text[CONFIG_MAX_DISKS][DISK_UID_TEXT];
	const char *uid[CONFIG_MAX_DISKS];
	struct disk_sealed out[CONFIG_MAX_DISKS * (DISK_MAX_FROZEN + 1)];
	static const atomic_bool never;
	unsigned n = vm->config.ndisks;
	uint64_t t[STEPS + 1];

	for (unsigned i = 0; i < n; i++) {
		struct head_info info = { .bytes = BYTES,
					  .below_kind = BELOW_HEAD };

		memcpy(info.below_uid, vm->uid[i], UID_BYTES);
		fds[2 * i] = new_head(&info, &vm->next_ro[i]);
		fds[2 * i + 1] = vm->ro[i];
		memcpy(vm->uid[i], info.uid, UID_BYTES);
		disk_uid_text(text[i], info.uid);
		uid[i] = text[i];
	}
	t[0] = now_ns();
	check(disk_set_prepare(vm->set, fds, 2 * n, uid, &never, &why),
	      "prepare");
	t[1] = now_ns();
	disk_set_swap(vm->set);
	t[2] = now_ns();
	check(disk_set_seal(vm->set, out, &never, &why), "seal");
	t[3] = now_ns();
	disk_set_adopt(vm->set);
	t[4] = now_ns();
	disk_set_commit(vm->set);
	check(loop_step(&vm->loop, 0), "loop");
	memcpy(vm->ro, vm->next_ro, sizeof(vm->ro));
	for (unsigned s = 0; s < STEPS; s++)
		ns[s] = t[s + 1] - t[s];
}

static int ascending(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void print(unsigned disks, uint64_t (*ns)[STEPS], unsigned n)
{
	uint64_t *v = calloc(n, sizeof(*v));

	printf("{\"disks\": %u, \"captures\": %u", disks, n);
	for (unsigned s = 0; s < STEPS; s++) {
		for (unsigned i = 0; i < n; i++)
			v[i] = ns[i][s];
		qsort(v, n, sizeof(*v), ascending);
		printf(", \"%s_us\": %.2f, \"%s_max_us\": %.2f", names[s],
		       (double)v[n / 2] / 1e3, names[s],
		       (double)v[n - 1] / 1e3);
	}
	printf("}\n");
	free(v);
}

int main(int argc, char **argv)
{
	unsigned disks = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
	unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : CAPTURES;
	uint64_t(*ns)[STEPS] = calloc(n, sizeof(*ns));
	static struct vm vm;

	if (!disks || disks > CONFIG_MAX_DISKS || !n || !ns) {
		fprintf(stderr, "usage: disk_swap DISKS [CAPTURES]\n");
		return 2;
	}
	check(hash_init(), "hash");
	make_vm(&vm, disks);
	for (unsigned i = 0; i < n; i++) {
		for (unsigned d = 0; d < disks; d++)
			write_some(&vm, vm.disk[d].disk);
		capture(&vm, ns[i]);
	}
	print(disks, ns, n);
	disk_set_destroy(vm.set);
	loop_fini(&vm.loop);
	free(ns);
	return 0;
}
