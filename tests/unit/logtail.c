/* SPDX-License-Identifier: Apache-2.0 */
/* A follower sees every byte once, across the log's cuts, or says it lost. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "logtail.h"
#include "ringlog.h"
#include "util.h"

#define LIMIT 65536

static struct ringlog log_;
static struct logtail tail;
static char *said, *seen; /* all that was written, all that was read */
static size_t nsaid, nseen;

static void init(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ringlog_init(&log_, fd, LIMIT), 0);
	logtail_init(&tail, fd, LIMIT);
	said = malloc(LIMIT * 16);
	seen = malloc(LIMIT * 16);
	cr_assert(said && seen);
	nsaid = nseen = 0;
}

static void fini(void)
{
	close(log_.fd);
	free(said);
	free(seen);
}

TestSuite(logtail, .init = init, .fini = fini);

static void say(const char *text)
{
	cr_assert_eq(ringlog_append(&log_, text, strlen(text)), 0);
	memcpy(said + nsaid, text, strlen(text));
	nsaid += strlen(text);
}

static int put(void *ctx, const uint8_t *data, size_t len)
{
	memcpy(seen + nseen, data, len);
	nseen += len;
	return 0;
}

static void look(void)
{
	cr_assert_eq(logtail_read(&tail, put, NULL), 0);
}

static void assert_all_seen(void)
{
	cr_assert_eq(nseen, nsaid);
	cr_assert_eq(memcmp(seen, said, nsaid), 0);
	cr_assert_eq(tail.lost, 0);
}

Test(logtail, read_when_the_log_is_cut_sees_every_byte_once)
{
	char line[64];

	for (unsigned i = 0; i < 20000; i++) {
		snprintf(line, sizeof(line), "line %u of many\n", i);
		say(line);
		if (i % 7 == 0)
			look();
	}
	look();
	cr_assert_gt(nsaid, 4 * LIMIT, "it was cut several times");
	assert_all_seen();
}

Test(logtail, read_when_lines_are_longer_than_memory_sees_every_byte)
{
	static char line[LOGTAIL_BYTES * 3];

	for (unsigned i = 0; i < 40; i++) {
		memset(line, 'a' + (int)(i % 26), sizeof(line) - 2);
		line[sizeof(line) - 2] = '\n';
		say(line);
		look();
	}
	assert_all_seen();
}

Test(logtail, read_when_it_was_too_slow_says_that_it_lost)
{
	char line[64];

	say("the first line, which is soon gone\n");
	look();
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(line, sizeof(line), "line %u of many\n", i);
		say(line);
	}
	look();
	cr_assert_eq(tail.lost, 1);
	cr_assert_eq(memcmp(seen + nseen - 4096, said + nsaid - 4096, 4096), 0,
		     "the newest is there");
}

Test(logtail, read_when_the_cut_goes_through_what_it_knows_goes_on)
{
	char line[128];

	for (unsigned i = 0; nsaid < LIMIT / 2 + 300; i++) {
		snprintf(line, sizeof(line), "%099u\n", i);
		say(line);
	}
	look();
	/* Now the kept half begins some lines before where we are. */
	for (unsigned i = 0; log_.bytes > LIMIT / 2 + 200; i++) {
		snprintf(line, sizeof(line), "other %093u\n", i);
		say(line);
	}
	look();
	assert_all_seen();
}

Test(logtail, read_when_empty_or_put_fails_keeps_its_place)
{
	look();
	cr_assert_eq(nseen, 0);
	say("once\n");
	look();
	look();
	assert_all_seen();
}
