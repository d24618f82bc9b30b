/* SPDX-License-Identifier: Apache-2.0 */
/* Runs with what they are run on, and how two of them are compared. */
#include "stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "peer.h"
#include "util.h"

static uint64_t ram_space(const struct exact_case *c)
{
	return c->memory ? c->memory : MIB(16);
}

void stage_begin(struct stage *s, const struct exact_case *c)
{
	*s = (struct stage){ .c = c, .ram_bytes = ram_space(c) };
	s->host = (struct exact_host){
		.console = memfd_create("console", MFD_CLOEXEC),
		.disk = exact_shared(EXACT_DISK_BYTES),
		.connections = exact_shared(sizeof(*s->host.connections)),
		.net = -1,
		.vsock = -1,
	};
	if ((c->net && peer_net(&s->host.net)) ||
	    (c->vsock && peer_vsock(&s->host.vsock, s->host.connections))) {
		perror("a guest's peer");
		exit(1);
	}
	s->run = exact_shared(sizeof(*s->run));
	s->ram.npages = s->ram_bytes / PAGE_BYTES;
	s->ram.bytes = exact_shared(s->ram_bytes);
	s->ram.hash = exact_shared(s->ram.npages * sizeof(uint64_t));
}

void stage_end(struct stage *s)
{
	close(s->host.console);
	if (s->host.net >= 0)
		close(s->host.net);
	if (s->host.vsock >= 0)
		close(s->host.vsock);
	munmap(s->host.disk, EXACT_DISK_BYTES);
	munmap((void *)s->host.connections, sizeof(*s->host.connections));
	munmap(s->run, sizeof(*s->run));
	munmap(s->ram.bytes, s->ram_bytes);
	munmap(s->ram.hash, s->ram.npages * sizeof(uint64_t));
}

struct exact_job stage_job(struct stage *s)
{
	return (struct exact_job){
		.c = s->c,
		.host = &s->host,
		.run = s->run,
		.ram = &s->ram,
		.points = UINT64_MAX,
	};
}

void stage_copy(struct stage *to, const struct stage *from)
{
	char buf[4096];
	ssize_t n;

	stage_begin(to, from->c);
	memcpy(to->host.disk, from->host.disk, EXACT_DISK_BYTES);
	memcpy(to->run, from->run, sizeof(*to->run));
	for (uint64_t p = 0; p < from->ram.npages; p++) {
		if (!from->ram.hash[p])
			continue;
		to->ram.hash[p] = from->ram.hash[p];
		memcpy(to->ram.bytes + p * PAGE_BYTES,
		       from->ram.bytes + p * PAGE_BYTES, PAGE_BYTES);
	}
	for (off_t at = 0;
	     (n = pread(from->host.console, buf, sizeof(buf), at)) > 0; at += n)
		if (write(to->host.console, buf, (size_t)n) != n)
			abort();
}

/* ---- comparing ---- */

static uint64_t console_hash(int fd, char *text, size_t room)
{
	ssize_t n = pread(fd, text, room - 1, 0);

	text[n < 0 ? 0 : n] = 0;
	return XXH3_64bits(text, strlen(text));
}

static uint64_t final_ram(const struct stage *s)
{
	uint64_t first = s->run->volatile_first, end = s->run->volatile_end;

	return s->c->trace ? exact_ram_hash(&s->ram, 0, 0)
			   : exact_ram_hash(&s->ram, first, end);
}

const char *stage_differs(const struct stage *a, const struct stage *b)
{
	static char x[1 << 16], y[1 << 16];

	if (!a->run->ended || !b->run->ended)
		return "one has no end";
	if (a->run->event != b->run->event || a->run->value != b->run->value)
		return "they end in other ways";
	if (console_hash(a->host.console, x, sizeof(x)) !=
	    console_hash(b->host.console, y, sizeof(y)))
		return "they print something else";
	if (memcmp(a->host.disk, b->host.disk, EXACT_DISK_BYTES))
		return "their disks differ";
	if (a->c->ram_varies)
		return NULL;
	if (a->run->volatile_first != b->run->volatile_first ||
	    final_ram(a) != final_ram(b))
		return "their RAM differs";
	return NULL;
}

bool exact_traces_differ(const struct exact_run *a, const struct exact_run *b,
			 uint64_t n, char text[EXACT_TEXT_MAX])
{
	size_t at = 0;

	for (uint64_t i = 0; i < n; i++) {
		if (a->point[i].chain == b->point[i].chain)
			continue;
		at = (size_t)snprintf(text, EXACT_TEXT_MAX,
				      "point %llu:", (unsigned long long)i);
		for (unsigned j = 0; j < PARTS; j++)
			if (a->point[i].part[j] != b->point[i].part[j])
				at += (size_t)snprintf(
				    text + at, EXACT_TEXT_MAX - at, " %s,",
				    exact_part_names[j]);
		return true;
	}
	return false;
}

bool stage_ended_well(const struct stage *s, char text[EXACT_TEXT_MAX])
{
	if (s->run->error[0])
		snprintf(text, EXACT_TEXT_MAX, "%s", s->run->error);
	else if (s->run->ended &&
		 (s->run->event != GUEST_EXIT || s->run->value != 0))
		console_hash(s->host.console, text, EXACT_TEXT_MAX);
	else
		return true;
	return false;
}

bool stage_replay(const struct stage *steady, const struct stage *at,
		  bool poison, char text[EXACT_TEXT_MAX])
{
	const char *differs;
	struct exact_job j;
	struct stage s;
	bool ok;

	stage_copy(&s, at);
	j = stage_job(&s);
	j.restore = true;
	j.poison = poison;
	j.points = 1;
	exact_do(&j);
	ok = stage_ended_well(&s, text);
	if (ok && (differs = stage_differs(steady, &s))) {
		snprintf(text, EXACT_TEXT_MAX, "%s", differs);
		ok = false;
	}
	stage_end(&s);
	return ok;
}
