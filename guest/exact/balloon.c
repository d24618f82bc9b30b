/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon: pages are filled, given, taken back; a page that was given
 * reads as zero then, all others as they were.
 */
#include "exact.h"
#include "virtio.h"

#define ROUNDS 12
#define PAGES  16
#define PAGE   4096

enum { INFLATE, DEFLATE, QUEUES };

static struct virtio_dev dev;
static struct virtio_queue queue[QUEUES];
static uint64_t (*pages)[PAGE / 8];
static uint32_t pfn[PAGES];

static void request(unsigned q, unsigned n)
{
	struct virtio_buf b = { pfn, n * sizeof(*pfn), false };
	uint32_t written;
	unsigned id;

	if (virtio_offer(&queue[q], &b, 1) < 0)
		guest_panic("balloon: no room");
	mark(n);
	while (!virtio_take(&queue[q], &id, &written))
		cpu_relax();
}

static uint64_t round(uint64_t r)
{
	uint64_t hash = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		for (unsigned j = 0; j < PAGE / 8; j++)
			pages[i][j] = fold(i, j + r);
	for (unsigned i = r & 1; i < PAGES; i += 2)
		pfn[n++] = (uint32_t)((uint64_t)pages[i] / PAGE);
	request(INFLATE, n);
	mark(r);
	request(DEFLATE, n);
	for (unsigned i = 0; i < PAGES; i++)
		for (unsigned j = 0; j < PAGE / 8; j++) {
			bool given = (i & 1) == (r & 1);

			expect("word", pages[i][j], given ? 0 : fold(i, j + r));
			hash = fold(hash, pages[i][j]);
		}
	return hash;
}

int guest_main(void)
{
	const struct boot_range *pool;
	uint64_t hash = 0;
	const char *why;

	if (!virtio_find(VIRTIO_ID_BALLOON, 0, &dev))
		return 1;
	why = virtio_begin(&dev, 0);
	for (unsigned i = 0; i < QUEUES && !why; i++)
		why = virtio_queue(&dev, i, 16, &queue[i]);
	if (why)
		guest_panic(why);
	virtio_go(&dev);
	mem_pool(&pool);
	pages = (uint64_t(*)[PAGE / 8]) pool[0].start;
	for (uint64_t r = 0; r < ROUNDS; r++)
		hash = fold(hash, round(r));
	return exact_end("balloon", hash);
}
