/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resets a disk while requests are on their way: once the reset has returned,
 * their buffers are ours again, and nobody may write to them.
 */
#include "blk.h"

#define REQUESTS 16
#define BYTES	 4096
#define STATUS	 0x70
#define SPINS	 100000

static struct blk disk;
static char buffer[REQUESTS][BYTES];

static unsigned changed(char byte)
{
	unsigned n = 0;

	for (unsigned i = 0; i < REQUESTS; i++)
		for (unsigned k = 0; k < BYTES; k++)
			n += ((volatile char *)buffer[i])[k] != byte;
	return n;
}

int guest_main(void)
{
	const char *why = blk_open(&disk, 0, false);

	if (why)
		guest_panic(why);
	for (unsigned i = 0; i < REQUESTS; i++)
		if (blk_begin(&disk, BLK_IN, i * 8, buffer[i], BYTES) < 0)
			guest_panic("no room");
	while (!virtio_all_taken(&disk.q))
		cpu_relax();
	virtio_set(&disk.dev, STATUS, 0);
	memset(buffer, 0x55, sizeof(buffer));
	for (unsigned i = 0; i < SPINS; i++)
		cpu_relax();
	if (virtio_get(&disk.dev, STATUS) || changed(0x55))
		guest_panic("the device has not let go");
	print("diskreset: done\n");
	return 9;
}
