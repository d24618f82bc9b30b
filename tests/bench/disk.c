/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What virtio-blk costs. One line of JSON for each run:
 *
 *   disk ring null|FILE [DEPTH]        the device alone: a ring in memory,
 * kicked from the same thread, no KVM disk vm GUEST FILE [CMDLINE [POLL_NS]] a
 * machine with a guest that prints the line of guest/tests/diskread.c
 *
 * FILE is read as a VM reads it, outside of the sandbox; null is a disk that
 * does nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blk.h"
#include "bus.h"
#include "console.h"
#include "disk_store.h"
#include "log.h"
#include "machine.h"
#include "util.h"

static void die(const char *what, int err)
{
	fprintf(stderr, "disk: %s: %s\n", what, strerror(err));
	exit(1);
}

/* ---- disks ---- */

static void do_nothing(struct disk *d, struct disk_request *r)
{
	r->done(r, 0);
}

static void nothing(struct disk *d)
{
}

static const struct disk_ops null_ops = { do_nothing, nothing, nothing };
static struct disk null_disk = { .ops = &null_ops, .bytes = GIB(1) };

/* Read-only, by the engine that VMs have. */
static struct disk *open_disk(struct loop *loop, const char *path)
{
	struct disk_store_config store = { .loop = loop, .disks = 1 };
	struct disk_io_config io = { .loop = loop, .nfds = 1 };
	struct disk *d;
	struct stat st;
	static int fd;
	int r;

	if (!strcmp(path, "null"))
		return &null_disk;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		die(path, errno);
	io.fds = &fd;
	r = disk_io_create(&store.io, &io);
	if (r < 0)
		die("disk_io", -r);
	d = disk_raw_create(&store, fd,
			    align_down((uint64_t)st.st_size, DISK_SECTOR_BYTES),
			    true);
	if (!d)
		die("disk", ENOMEM);
	return d;
}

/* ---- the device alone ---- */

#define RAM	  MIB(4)
#define BASE	  0xd0000000
#define DESC	  0x10000
#define AVAIL	  0x12000
#define USED	  0x14000
#define HEADERS	  0x20000
#define STATUSES  0x30000
#define DATA	  0x100000
#define SIZE	  256
#define MAX_DEPTH 64
#define BYTES	  4096

struct driver {
	struct gmem ram;
	struct bus bus;
	struct blk *blk;
	uint16_t *avail, *used;
	struct blk_header *header;
	uint64_t slots, seed;
};

static void set(struct driver *d, unsigned reg, uint32_t value)
{
	bus_write(&d->bus, BASE + reg, &value, 4);
}

static void put_chain(struct driver *d, unsigned i)
{
	struct vring_desc c[3] = {
		{ HEADERS + i * sizeof(struct blk_header),
		  sizeof(struct blk_header), VRING_DESC_NEXT,
		  (uint16_t)(3 * i + 1) },
		{ DATA + i * BYTES, BYTES, VRING_DESC_NEXT | VRING_DESC_WRITE,
		  (uint16_t)(3 * i + 2) },
		{ STATUSES + i, 1, VRING_DESC_WRITE, 0 },
	};

	if (gmem_write(&d->ram, GPA(DESC + 3 * i * sizeof(c[0])), c, sizeof(c)))
		die("chain", EFAULT);
}

static void start_driver(struct driver *d)
{
	const uint32_t status =
	    VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK;

	set(d, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	set(d, VIRTIO_DRIVER_FEATURES_SEL, 0);
	set(d, VIRTIO_DRIVER_FEATURES, (uint32_t)VIRTIO_F_EVENT_IDX);
	set(d, VIRTIO_DRIVER_FEATURES_SEL, 1);
	set(d, VIRTIO_DRIVER_FEATURES, 1);
	set(d, VIRTIO_STATUS, status);
	set(d, VIRTIO_QUEUE_NUM, SIZE);
	set(d, VIRTIO_QUEUE_DESC_LOW, DESC);
	set(d, VIRTIO_QUEUE_DRIVER_LOW, AVAIL);
	set(d, VIRTIO_QUEUE_DEVICE_LOW, USED);
	set(d, VIRTIO_QUEUE_READY, 1);
	set(d, VIRTIO_STATUS, status | VIRTIO_DRIVER_OK);
}

/* `depth` requests offered at once, and all of them ended by the kick. */
static void round_of(struct driver *d, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++) {
		d->seed = d->seed * 6364136223846793005 + 1442695040888963407;
		d->header[i].sector =
		    (d->seed >> 16) % d->slots * (BYTES / DISK_SECTOR_BYTES);
		d->avail[2 + (uint16_t)(d->avail[1] + i) % SIZE] =
		    (uint16_t)(3 * i);
	}
	__atomic_store_n(&d->avail[1], (uint16_t)(d->avail[1] + depth),
			 __ATOMIC_RELEASE);
	set(d, VIRTIO_QUEUE_NOTIFY, 0);
	if (d->used[1] != d->avail[1])
		die("a request did not end", EPROTO);
}

static int ring(const char *path, unsigned depth)
{
	struct gmem_region region = { 0, RAM, 0 };
	struct driver d = { .seed = 1 };
	struct loop loop;
	struct blk_config c = {
		.virtio = { .name = "disk0", .ram = &d.ram, .kick_fd = -1 },
		.loop = &loop
	};
	uint64_t start, ns, rounds = 2000000 / depth;

	irq_init(&c.virtio.irq, -1, 0);
	if (loop_init(&loop))
		die("loop", errno);
	c.disk = open_disk(&loop, path);
	if (gmem_init(&d.ram, &region, 1) || !(d.blk = blk_create(&c)))
		die("set up", ENOMEM);
	bus_init(&d.bus, "mmio");
	bus_add(&d.bus, BASE, 0x1000, &d.blk->virtio.dev);
	d.slots = c.disk->bytes / BYTES;
	d.avail = gmem_borrow(&d.ram, GPA(AVAIL), 8);
	d.used = gmem_borrow(&d.ram, GPA(USED), 8);
	d.header = gmem_borrow(&d.ram, GPA(HEADERS), 8);
	start_driver(&d);
	for (unsigned i = 0; i < depth; i++)
		put_chain(&d, i);
	for (unsigned i = 0; i < 2000; i++)
		round_of(&d, depth);
	start = now_ns();
	for (uint64_t i = 0; i < rounds; i++)
		round_of(&d, depth);
	ns = now_ns() - start;
	printf("{\"depth\": %u, \"ns_a_request\": %.1f, \"errors\": %" PRIu64
	       "}\n",
	       depth, (double)ns / (double)(rounds * depth),
	       d.blk->counters.errors);
	return d.blk->counters.errors != 0;
}

/* ---- a machine ---- */

static struct loop vm_loop;
static uint32_t exit_code;

static void on_event(void *ctx, enum guest_event what, uint32_t value)
{
	exit_code = what == GUEST_EXIT ? value : 1;
	loop_quit(&vm_loop);
}

static void print_counters(const struct blk *b)
{
	const struct blk_counters *c = &b->counters;

	printf("{\"reads\": %" PRIu64 ", \"kicks\": %" PRIu64
	       ", \"polled\": %" PRIu64 ", \"interrupts\": %" PRIu64
	       ", \"errors\": %" PRIu64 ", \"latency_ns\": %" PRIu64 "}\n",
	       c->reads, b->virtio.counters.kicks, c->polled,
	       b->virtio.counters.interrupts, c->errors,
	       c->latency_sum_ns / MAX(c->reads, 1u));
}

static int vm(const char *guest, const char *path, const char *cmdline,
	      const char *poll)
{
	struct console_config con = { .in_fd = -1,
				      .out_fd = STDOUT_FILENO,
				      .log_fd = -1,
				      .listen_fd = { -1, -1 } };
	struct machine_disk md = { .id = "root" };
	struct machine_config mc = { .cpus = 1,
				     .memory_bytes = MIB(64),
				     .loop = &vm_loop,
				     .rng_fd = -1,
				     .agent_fd = -1,
				     .disk = &md,
				     .ndisks = 1,
				     .event = on_event };
	struct boot_source src = { .cmdline = cmdline,
				   .protocol = BOOT_LINUX64 };
	struct machine *m;
	struct fail why;
	struct stat st;

	src.kernel = (struct blob){ .fd = open(guest, O_RDONLY | O_CLOEXEC),
				    .name = guest };
	if (src.kernel.fd < 0 || fstat(src.kernel.fd, &st))
		die(guest, errno);
	src.kernel.bytes = (uint64_t)st.st_size;
	mc.kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (mc.kvm_fd < 0)
		die("/dev/kvm", errno);
	if (loop_init(&vm_loop) || console_create(&mc.console, &vm_loop, &con))
		die("set up", ENOMEM);
	md.disk = open_disk(&vm_loop, path);
	if (machine_create(&m, &mc, &why) || machine_load(m, &src, &why)) {
		fprintf(stderr, "disk: %s: %s\n", why.object, why.message);
		return 1;
	}
	if (poll)
		((struct blk *)md.disk->owner)->poll_max_ns =
		    strtoull(poll, NULL, 0);
	machine_run(m);
	if (loop_run(&vm_loop))
		die("loop", errno);
	for (unsigned i = 0; i < 5; i++)
		loop_step(&vm_loop, 1);
	machine_pause(m);
	fflush(stdout);
	print_counters(md.disk->owner);
	machine_destroy(m);
	return (int)exit_code;
}

int main(int argc, char **argv)
{
	unsigned depth = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 32;

	log_setup(STDERR_FILENO, LOG_ERROR);
	if (argc > 2 && !strcmp(argv[1], "ring") && depth && depth <= MAX_DEPTH)
		return ring(argv[2], depth);
	if (argc > 3 && !strcmp(argv[1], "vm"))
		return vm(argv[2], argv[3], argc > 4 ? argv[4] : "",
			  argc > 5 ? argv[5] : NULL);
	fprintf(stderr, "usage: disk ring null|FILE [DEPTH]\n"
			"       disk vm GUEST null|FILE [CMDLINE [POLL_NS]]\n");
	return 2;
}
