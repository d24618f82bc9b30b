/* SPDX-License-Identifier: Apache-2.0 */
/* How users name snapshots. */
#include "snapshot_name.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "storetest.h"

static struct store *s;

static void init(void)
{
	cr_assert_eq(hash_init(), 0);
	store_test_home();
	cr_assert_eq(store_open(&s, test_home, true, &why), 0);
	cr_assert_eq(store_lock(s, STORE_SHARED, &why), 0);
}

static void fini(void)
{
	store_close(s);
	store_test_end();
}

TestSuite(snapshot_name, .init = init, .fini = fini);

Test(snapshot_name, parse_takes_a_vm_with_or_without_a_name)
{
	struct snapshot_name n;

	cr_assert_eq(snapshot_name_parse(&n, "web@pre-update.1", &why), 0);
	cr_assert_str_eq(n.vm, "web");
	cr_assert_str_eq(n.name, "pre-update.1");
	cr_assert_eq(snapshot_name_parse(&n, "web", &why), 0);
	cr_assert_str_eq(n.vm, "web");
	cr_assert_str_eq(n.name, "");
}

Test(snapshot_name, parse_when_it_is_no_name_says_so)
{
	static const char *const bad[] = {
		"",	 "@",	     "web@", "@one", "web@a@b", "web@../x",
		"a/b@x", "web@a\nb", ".a@b", "a@.b", "a b@c",	"web@caf\xe9",
	};
	char text[140] = "web@";
	struct snapshot_name n;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_assert_eq(snapshot_name_parse(&n, bad[i], &why), -EINVAL,
			     "%s", bad[i]);
		cr_assert_eq(why.code, EXIT_USAGE);
	}
	memset(text + 4, 'a', 63);
	cr_assert_eq(snapshot_name_parse(&n, text, &why), 0);
	text[4 + 63] = 'a';
	cr_assert_eq(snapshot_name_parse(&n, text, &why), -EINVAL);
	cr_assert_eq(snapshot_name_parse(&n, text + 4, &why), -EINVAL);
}

Test(snapshot_name, made_up_names_are_names)
{
	struct snapshot_name n = { .vm = "web" };
	char first[sizeof(n.name)];

	snapshot_name_make_up(&n, 1);
	cr_assert_null(record_name_check(n.name), "%s", n.name);
	cr_assert_eq(strncmp(n.name, "auto-20", 7), 0, "%s", n.name);
	cr_assert_eq(strlen(n.name), strlen("auto-20260131T235959Z"));
	strcpy(first, n.name);
	snapshot_name_make_up(&n, 12);
	cr_assert_str_eq(n.name + strlen(first), "-12");
}

Test(snapshot_name, find_by_id_takes_unique_digits_only)
{
	struct object_id m = put_snapshot(s, "web", "one", 1, NULL, NULL);
	struct ref twin = {
		.vm = "web", .name = "twin", .manifest = m, .sequence = 1
	};
	char id[ID_TEXT + 1];
	struct ref r;

	object_id_text(id, &m);
	for (size_t n = SNAPSHOT_ID_MIN; n <= strlen(id); n += 6) {
		char prefix[ID_TEXT];

		snprintf(prefix, sizeof(prefix), "%.*s", (int)n, id);
		cr_assert_eq(snapshot_find(s, prefix, &r, &why), 0, "%s",
			     why.message);
		cr_assert_str_eq(r.name, "one");
		ref_free(&r);
	}
	id[3] = '\0'; /* too few */
	cr_assert_eq(snapshot_find(s, id, &r, &why), -ENOENT);
	cr_assert_eq(why.code, EXIT_NOT_FOUND);
	object_id_text(id, &m);
	strcat(id, "0"); /* too many */
	cr_assert_eq(snapshot_find(s, id, &r, &why), -ENOENT);
	object_id_text(id, &m);
	cr_assert_eq(store_put_ref(s, &twin, false, &why), 0);
	cr_assert_eq(snapshot_find(s, id, &r, &why), -EINVAL);
	cr_assert_eq(why.code, EXIT_USAGE);
	cr_assert(strstr(why.message, "web@one, web@twin"), "%s", why.message);
}

Test(snapshot_name, find_when_a_ref_is_damaged_finds_the_others)
{
	struct object_id m = put_snapshot(s, "web", "one", 1, NULL, NULL);
	char id[ID_TEXT];
	struct ref r;

	put_snapshot(s, "web", "bad", 2, NULL, NULL);
	flip_byte("store/refs/web@bad", 30);
	object_id_text(id, &m);
	cr_assert_eq(snapshot_find(s, id, &r, &why), 0);
	ref_free(&r);
	cr_assert_eq(snapshot_find(s, "web@bad", &r, &why), -EBADMSG);
	cr_assert_eq(snapshot_find(s, "web@one", &r, &why), 0);
	ref_free(&r);
}
