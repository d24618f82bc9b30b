/* SPDX-License-Identifier: Apache-2.0 */
/* The one place where a guest's access meets a device's register table. */
#include "bus.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "util.h"

void device_init(struct device *d, const struct device_ops *ops,
		 const char *name, void *st)
{
	*d = (struct device){ .ops = ops, .name = name, .st = st };
	pthread_mutex_init(&d->lock, NULL);
}

void device_fini(struct device *d)
{
	pthread_mutex_destroy(&d->lock);
}

void device_destroy(struct device *d)
{
	if (d->ops->destroy)
		d->ops->destroy(d);
	else
		device_fini(d);
}

uint64_t device_count(const struct device *d, unsigned counter)
{
	return *(
	    const uint64_t *)(const void *)((const char *)d +
					    d->ops->counter[counter].offset);
}

void bus_init(struct bus *b, const char *name)
{
	*b = (struct bus){ .name = name };
}

int bus_add(struct bus *b, uint64_t base, uint64_t bytes, struct device *dev)
{
	unsigned at = 0;

	if (bytes == 0 || base + (bytes - 1) < base)
		return -EINVAL;
	if (b->nranges == BUS_MAX_RANGES)
		return -ENOSPC;
	while (at < b->nranges && b->range[at].base < base)
		at++;
	if (at > 0 && base - b->range[at - 1].base < b->range[at - 1].bytes)
		return -EEXIST;
	if (at < b->nranges && b->range[at].base - base < bytes)
		return -EEXIST;
	memmove(&b->range[at + 1], &b->range[at],
		(b->nranges - at) * sizeof(b->range[0]));
	b->range[at] = (struct bus_range){ base, bytes, dev };
	b->nranges++;
	return 0;
}

static const struct bus_range *find(const struct bus *b, uint64_t addr)
{
	unsigned lo = 0, hi = b->nranges;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		const struct bus_range *r = &b->range[mid];

		if (addr < r->base)
			hi = mid;
		else if (addr - r->base >= r->bytes)
			lo = mid + 1;
		else
			return r;
	}
	return NULL;
}

static bool allowed(const struct device_ops *ops, uint64_t off, unsigned len,
		    uint8_t access)
{
	for (unsigned i = 0; i < ops->nregs; i++) {
		const struct reg *g = &ops->regs[i];

		if (off < g->offset ||
		    !range_within(off - g->offset, len, g->bytes) ||
		    !(g->access & access))
			continue;
		return (g->widths & len) && (off == g->offset || g->bytes > 8);
	}
	return false;
}

/* The range that takes this access, or NULL after counting why not. */
static const struct bus_range *route(struct bus *b, uint64_t addr, unsigned len,
				     uint8_t access)
{
	const char *verb = access == REG_R ? "read" : "write";
	const struct bus_range *r = find(b, addr);

	if (!r) {
		log_guest(&b->unclaimed, b->name,
			  "%s %u bytes at 0x%" PRIx64 ": no device there", verb,
			  len, addr);
		return NULL;
	}
	if (!allowed(r->dev->ops, addr - r->base, len, access)) {
		_locked_(&r->dev->lock);
		r->dev->refused++;
		log_guest(&b->refused, r->dev->name,
			  "%s %u bytes at +0x%" PRIx64 ": no such register",
			  verb, len, addr - r->base);
		return NULL;
	}
	return r;
}

void bus_read(struct bus *b, uint64_t addr, void *data, unsigned len)
{
	const struct bus_range *r = route(b, addr, len, REG_R);
	uint64_t v = ~UINT64_C(0);

	if (r) {
		_locked_(&r->dev->lock);
		v = r->dev->ops->read(r->dev, addr - r->base, len);
	}
	memcpy(data, &v, len);
}

void bus_write(struct bus *b, uint64_t addr, const void *data, unsigned len)
{
	const struct bus_range *r = route(b, addr, len, REG_W);
	uint64_t v = 0;

	memcpy(&v, data, len);
	if (r) {
		_locked_(&r->dev->lock);
		r->dev->ops->write(r->dev, addr - r->base, len, v);
	}
}
