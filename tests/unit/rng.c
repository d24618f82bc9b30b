/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng: so many bytes a period and no more, whatever is asked. */
#include "rng.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"

static struct loop loop;
static struct driver d;
static struct rng *r;
static int source;

static void set_up(int fd)
{
	struct rng_config c = { .loop = &loop, .source_fd = fd };

	source = fd;
	cr_assert_geq(source, 0);
	cr_assert_eq(loop_init(&loop), 0);
	driver_init(&d, &c.virtio);
	r = rng_create(&c);
	cr_assert_not_null(r);
	driver_plug(&d, &r->virtio);
	driver_start(&d, 0);
}

static void init(void)
{
	set_up(open("/dev/urandom", O_RDONLY | O_CLOEXEC));
}

static void fini(void)
{
	driver_fini(&d);
	loop_fini(&loop);
	close(source);
}

TestSuite(rng, .init = init, .fini = fini);

static unsigned bytes_set(uint64_t at, uint32_t len)
{
	const uint8_t *p = gmem_borrow(&d.ram, GPA(at), len);
	unsigned n = 0;

	for (uint32_t i = 0; i < len; i++)
		n += p[i] != 0;
	return n;
}

Test(rng, buffer_is_filled_with_what_is_no_zero)
{
	driver_send(&d, 0, DRIVER_DATA, 1000, true);
	cr_assert_eq(driver_used_len(&d, 0, 0), 1000);
	cr_assert_gt(bytes_set(DRIVER_DATA, 1000), 900);
	cr_assert_eq(r->bytes, 1000);
}

/* A guest that asks for all there is gets a period's worth, and the rest of
 * its requests wait for the next one. */
Test(rng, more_than_a_period_has_waits_for_the_next)
{
	driver_desc(&d, 0, 0, DRIVER_DATA, MIB(1), VRING_DESC_WRITE, 0);
	driver_offer(&d, 0, 0);
	driver_offer(&d, 0, 0);
	driver_kick(&d, 0);
	cr_assert_eq(driver_used(&d, 0), 1);
	cr_assert_eq(driver_used_len(&d, 0, 0), RNG_PERIOD_BYTES);
	driver_kick(&d, 0);
	cr_assert_eq(driver_used(&d, 0), 1);
	while (driver_used(&d, 0) < 2)
		cr_assert_eq(loop_step(&loop, -1), 0);
	cr_assert_eq(driver_used_len(&d, 0, 1), RNG_PERIOD_BYTES);
	cr_assert_eq(r->bytes, 2 * RNG_PERIOD_BYTES);
}

/* Nor can it keep us busy with requests for nothing. */
Test(rng, empty_requests_are_legal_and_use_the_period_up)
{
	driver_desc(&d, 0, 0, DRIVER_DATA, 0, VRING_DESC_WRITE, 0);
	for (unsigned i = 0; i < DRIVER_SIZE; i++)
		driver_offer(&d, 0, 0);
	driver_kick(&d, 0);
	cr_assert_eq(driver_used(&d, 0), DRIVER_SIZE);
	cr_assert_eq(r->bytes_left, RNG_PERIOD_BYTES - DRIVER_SIZE);
	cr_assert_not(driver_broken(&d));
}

Test(rng, chain_of_several_buffers_is_filled_in_order)
{
	driver_desc(&d, 0, 0, DRIVER_DATA, 100, 3, 1);
	driver_desc(&d, 0, 1, DRIVER_DATA + 4096, 100, VRING_DESC_WRITE, 0);
	driver_offer(&d, 0, 0);
	driver_kick(&d, 0);
	cr_assert_eq(driver_used_len(&d, 0, 0), 200);
	cr_assert_gt(bytes_set(DRIVER_DATA + 4096, 100), 80);
}

Test(rng, buffer_that_cannot_be_filled_breaks_the_queue)
{
	driver_send(&d, 0, DRIVER_DATA, 100, false);
	cr_assert(driver_broken(&d));
	cr_assert_eq(bytes_set(DRIVER_DATA, 100), 0);
}

Test(rng, period_that_begins_while_quiet_serves_nothing_until_resume)
{
	driver_send(&d, 0, DRIVER_DATA, MIB(1), true);
	cr_assert_eq(virtio_quiesce(&r->virtio.dev), 0);
	driver_send(&d, 0, DRIVER_DATA, 100, true);
	while (r->waiting)
		cr_assert_eq(loop_step(&loop, -1), 0);
	cr_assert_eq(driver_used(&d, 0), 1);
	virtio_resume(&r->virtio.dev);
	cr_assert_eq(driver_used(&d, 0), 2);
}

/* The host's failure is not the guest's: it gets nothing, and goes on. */
Test(rng_host, source_that_fails_or_ends_gives_nothing)
{
	int pipes[2];

	cr_assert_eq(pipe(pipes), 0);
	set_up(pipes[0]);
	cr_assert_eq(write(pipes[1], "abc", 3), 3);
	close(pipes[1]);
	driver_send(&d, 0, DRIVER_DATA, 100, true);
	cr_assert_eq(driver_used_len(&d, 0, 0), 3);
	driver_send(&d, 0, DRIVER_DATA, 100, true);
	cr_assert_eq(driver_used_len(&d, 0, 1), 0);
	cr_assert_not(driver_broken(&d));
	fini();
}
