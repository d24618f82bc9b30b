/* SPDX-License-Identifier: Apache-2.0 */
/* --net and the key `net`: what is taken, what is refused and why. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "util.h"

static struct vm_config c;
static struct fail why;

static void init(void)
{
	config_init(&c);
}

static void fini(void)
{
	config_free(&c);
}

TestSuite(config_net, .init = init, .fini = fini);

static void take(const char *value)
{
	cr_assert_eq(config_set_net(&c, value, &why), 0, "%s: %s", value,
		     why.message);
}

Test(config_net, tap_with_all_details_is_taken)
{
	static const uint8_t mac[] = { 0x52, 0x54, 0, 0xab, 0xCD, 0xef };

	take("tap=tap0,id=lan,mac=52:54:00:ab:CD:ef,mtu=9000,bps=10M,pps=500");
	cr_assert_eq(c.nnets, 1);
	cr_assert_eq(c.net[0].kind, VM_NET_TAP);
	cr_assert_str_eq(c.net[0].where, "tap0");
	cr_assert_str_eq(c.net[0].id, "net-lan");
	cr_assert(c.net[0].has_mac);
	cr_assert_arr_eq(c.net[0].mac, mac, sizeof(mac));
	cr_assert_eq(c.net[0].mtu, 9000);
	cr_assert_eq(c.net[0].bytes_max, MIB(10));
	cr_assert_eq(c.net[0].frames_max, 500);
}

Test(config_net, kinds_are_told_apart)
{
	take("fd=7");
	take("passt");
	take("passt=/tmp/a,,b");
	take("unplugged,mtu=1400");
	cr_assert_eq(c.net[0].kind, VM_NET_FD);
	cr_assert_eq(c.net[0].fd, 7);
	cr_assert_str_eq(c.net[0].id, "net0");
	cr_assert_eq(c.net[1].kind, VM_NET_PASST);
	cr_assert_null(c.net[1].where);
	cr_assert_str_eq(c.net[2].where, "/tmp/a,b");
	cr_assert_str_eq(c.net[2].id, "net2");
	cr_assert_eq(c.net[3].kind, VM_NET_UNPLUGGED);
	cr_assert_eq(c.net[3].mtu, 1400);
}

Test(config_net, none_takes_away_what_was_named_before)
{
	take("tap=a");
	take("tap=b");
	take("none");
	cr_assert_eq(c.nnets, 0);
	take("tap=c");
	cr_assert_eq(c.nnets, 1);
}

Test(config_net, wrong_words_are_refused)
{
	static const char *const bad[] = {
		"",
		"tap",
		"unplugged=x",
		"tap=",
		"tap=a/b",
		"tap=a b",
		"tap=tap%d",
		"tap=.",
		"tap=0123456789abcdef",
		"fd",
		"fd=2",
		"fd=-1",
		"fd=3x",
		"fd=99999999999",
		"passt=",
		"none,id=a",
		"bridge=br0",
		"tap=a,id=",
		"tap=a,id=-",
		"tap=a,id=a/b",
		"tap=a,id",
		"tap=a,mac=52:54:00:12:34",
		"tap=a,mac=52:54:00:12:34:5",
		"tap=a,mac=52:54:00:12:34:56:78",
		"tap=a,mac=52-54-00-12-34-56",
		"tap=a,mac=5g:54:00:12:34:56",
		"tap=a,mac= 2:54:00:12:34:56",
		"tap=a,mac=53:54:00:12:34:56",
		"tap=a,mac=00:00:00:00:00:00",
		"tap=a,mtu=67",
		"tap=a,mtu=65536",
		"tap=a,mtu=",
		"tap=a,bps=0",
		"tap=a,bps=x",
		"tap=a,pps=0",
		"tap=a,pps=1M",
		"tap=a,",
		"tap=a,vhost=on",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_assert_eq(config_set_net(&c, bad[i], &why), -EINVAL, "'%s'",
			     bad[i]);
		cr_assert_eq(why.code, EXIT_USAGE);
		cr_assert(*why.hint, "'%s'", bad[i]);
		cr_assert_eq(c.nnets, 0);
	}
}

Test(config_net, path_of_a_socket_that_is_too_long_is_refused)
{
	char value[200] = "passt=";

	memset(value + 6, 'a', 107);
	take(value);
	value[6 + 107] = 'a';
	cr_assert_eq(config_set_net(&c, value, &why), -EINVAL);
}

Test(config_net, ids_that_are_equal_are_refused)
{
	take("tap=a,id=one");
	cr_assert_eq(config_set_net(&c, "tap=b,id=one", &why), -EINVAL);
	take("tap=b,id=other");
}

Test(config_net, more_than_eight_are_refused)
{
	char value[16];

	for (unsigned i = 0; i < CONFIG_MAX_NETS; i++) {
		snprintf(value, sizeof(value), "tap=tap%u", i);
		take(value);
	}
	cr_assert_eq(config_set_net(&c, "tap=more", &why), -EINVAL);
}

Test(config_net, json_is_printed_as_it_is_read)
{
	static const char text[] =
	    "{\"net\": [\"tap=a,mtu=1400\", \"passt=/x,,y,id=p\"]}";
	struct vm_config again;
	json_t *doc;

	cr_assert_eq(config_from_text(&c, text, strlen(text), &why), 0, "%s",
		     why.message);
	cr_assert_eq(c.nnets, 2);
	doc = config_to_json(&c);
	config_init(&again);
	cr_assert_eq(config_from_json(&again, doc, &why), 0);
	json_decref(doc);
	cr_assert_eq(again.nnets, 2);
	cr_assert_str_eq(again.net[1].where, "/x,y");
	cr_assert_eq(again.net[0].mtu, 1400);
	config_free(&again);
}

Test(config_net, mac_when_not_given_is_stable_local_and_its_own)
{
	uint8_t a[CONFIG_MAC_BYTES], b[CONFIG_MAC_BYTES];

	take("tap=a");
	take("tap=b");
	vm_net_mac(&c.net[0], "web", a);
	vm_net_mac(&c.net[0], "web", b);
	cr_assert_arr_eq(a, b, sizeof(a));
	cr_assert_eq(a[0] & 3, 2);
	vm_net_mac(&c.net[1], "web", b);
	cr_assert(memcmp(a, b, sizeof(a)));
	vm_net_mac(&c.net[0], "db", b);
	cr_assert(memcmp(a, b, sizeof(a)));
	/* The two names do not run together. */
	take("tap=c,id=bnet0");
	vm_net_mac(&c.net[0], "ab", a);
	vm_net_mac(&c.net[2], "a", b);
	cr_assert(memcmp(a, b, sizeof(a)));
}
