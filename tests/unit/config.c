/* SPDX-License-Identifier: Apache-2.0 */
/* The one schema: what it takes, what it refuses and how it names it. */
#include <assert.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "acpi.h"
#include "config.h"
#include "util.h"

static_assert(CONFIG_MAX_VIRTIO == ACPI_MAX_VIRTIO, "windows");

static struct vm_config c;
static struct fail why;

static void init(void)
{
	config_init(&c);
	why = (struct fail){ .code = EXIT_OK };
}

static void fini(void)
{
	config_free(&c);
}

TestSuite(config, .init = init, .fini = fini);

static int from(const char *text)
{
	return config_from_text(&c, text, strlen(text), &why);
}

static void parts_of(const char *text, const char *want)
{
	char copy[64], out[64] = "", *rest = copy, *part;

	strcpy(copy, text);
	while ((part = config_next_part(&rest))) {
		strcat(out, "[");
		strcat(out, part);
		strcat(out, "]");
	}
	cr_assert_str_eq(out, want);
}

Test(config, parts_are_split_at_commas_and_two_commas_are_one)
{
	parts_of("", "[]");
	parts_of("a", "[a]");
	parts_of("a,b=c,d", "[a][b=c][d]");
	parts_of("a,", "[a][]");
	parts_of(",", "[][]");
	parts_of("a,,b,c", "[a,b][c]");
	parts_of("a,,", "[a,]");
	parts_of("a,,,b", "[a,][b]");
}

Test(config, init_when_nothing_is_said_has_the_defaults)
{
	cr_assert_eq(c.memory_bytes, MIB(512));
	cr_assert_eq(c.cpus, 1);
	cr_assert_str_eq(c.cmdline, "");
	cr_assert_null(c.kernel);
	cr_assert_eq(c.serial, SERIAL_STDIO);
	cr_assert_eq(c.boot, BOOT_AUTO);
	cr_assert_eq(c.on_reboot, ON_REBOOT_RESTART);
	cr_assert_not(c.named);
}

static const struct {
	const char *text;
	uint64_t bytes;
} sizes[] = {
	{ "0", 0 },	      { "1048576", MIB(1) },
	{ "512M", MIB(512) }, { "512m", MIB(512) },
	{ "2G", GIB(2) },     { "2GiB", GIB(2) },
	{ "2GB", GIB(2) },    { "4K", 4096 },
	{ "1T", GIB(1024) },  { "18446744073709551615", UINT64_MAX },
};

Test(config, parse_size_when_well_formed_gives_bytes)
{
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t v = 1;

		cr_expect_eq(config_parse_size(sizes[i].text, &v), 0, "%s",
			     sizes[i].text);
		cr_expect_eq(v, sizes[i].bytes, "%s", sizes[i].text);
	}
}

Test(config, parse_size_when_malformed_is_refused)
{
	static const char *const wrong[] = {
		"",	     "M",
		"12Q",	     "-1",
		"+1",	     " 1",
		"1 ",	     "1.5G",
		"0x10",	     "1MM",
		"1Mi",	     "1MiBs",
		"1e9",	     "18446744073709551616",
		"16777216T", "99999999999999999999999999999999G",
	};
	uint64_t v = 77;

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		cr_expect_eq(config_parse_size(wrong[i], &v), -EINVAL, "%s",
			     wrong[i]);
	cr_assert_eq(v, 77);
}

Test(config, name_valid_when_it_could_be_a_path_says_no)
{
	char longest[CONFIG_NAME_MAX + 2];
	static const char *const wrong[] = {
		"",    ".",   "..",  ".a",	 "-a",	"_a",
		"a/b", "a b", "a\n", "\xc3\xa4", "a@b", "a\"b",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		cr_expect_not(config_name_valid(wrong[i]), "%s", wrong[i]);
	cr_assert(config_name_valid("a"));
	cr_assert(config_name_valid("9"));
	cr_assert(config_name_valid("web-1.example_com"));
	memset(longest, 'a', sizeof(longest));
	longest[CONFIG_NAME_MAX + 1] = '\0';
	cr_assert_not(config_name_valid(longest));
	longest[CONFIG_NAME_MAX] = '\0';
	cr_assert(config_name_valid(longest));
}

Test(config, from_json_when_complete_sets_every_key)
{
	cr_assert_eq(from("{\"name\":\"web\",\"kernel\":\"/k\","
			  "\"initrd\":\"/i\",\"cmdline\":\"quiet\","
			  "\"boot\":\"pvh\",\"memory\":\"1G\",\"cpus\":2,"
			  "\"serial\":\"file=/log\","
			  "\"share_console\":\"/s\","
			  "\"on_reboot\":\"exit\"}"),
		     0, "%s", why.message);
	cr_assert_str_eq(c.name, "web");
	cr_assert(c.named);
	cr_assert_str_eq(c.kernel, "/k");
	cr_assert_str_eq(c.initrd, "/i");
	cr_assert_str_eq(c.cmdline, "quiet");
	cr_assert_eq(c.boot, BOOT_PVH);
	cr_assert_eq(c.memory_bytes, GIB(1));
	cr_assert_eq(c.cpus, 2);
	cr_assert_eq(c.serial, SERIAL_FILE);
	cr_assert_str_eq(c.serial_path, "/log");
	cr_assert_str_eq(c.share_console, "/s");
	cr_assert_eq(c.on_reboot, ON_REBOOT_EXIT);
}

Test(config, to_json_when_read_again_is_the_same)
{
	static const char text[] =
	    "{\"name\":\"web\",\"kernel\":\"/k\",\"cmdline\":\"a \\\"b\\\""
	    "\",\"boot\":\"linux64\",\"memory\":1073741824,\"cpus\":3,"
	    "\"serial\":\"socket=/s=x\",\"on_reboot\":\"restart\"}";
	json_t *first, *second;
	struct vm_config again;

	cr_assert_eq(from(text), 0);
	first = config_to_json(&c);
	config_init(&again);
	cr_assert_eq(config_from_json(&again, first, &why), 0);
	second = config_to_json(&again);
	cr_assert(json_equal(first, second));
	cr_assert_str_eq(again.serial_path, "/s=x");
	json_decref(first);
	json_decref(second);
	config_free(&again);
}

Test(config, vsock_when_set_in_parts_has_defaults_for_the_rest)
{
	cr_assert_not(c.vsock);
	cr_assert_eq(config_set_vsock(&c, NULL, &why), 0);
	cr_assert(c.vsock);
	cr_assert_eq(c.vsock_cid, 3);
	cr_assert_null(c.vsock_path);
	cr_assert_eq(config_set_vsock(&c, "path=/a,,b,cid=4294967294", &why),
		     0);
	cr_assert_eq(c.vsock_cid, 4294967294);
	cr_assert_str_eq(c.vsock_path, "/a,b");
	/* Said again, it is what was said last. */
	cr_assert_eq(config_set_vsock(&c, "cid=7", &why), 0);
	cr_assert_eq(c.vsock_cid, 7);
	cr_assert_null(c.vsock_path);
}

Test(config, vsock_when_printed_and_read_again_is_the_same)
{
	json_t *doc;
	struct vm_config again;

	cr_assert_eq(from("{\"vsock\":\"cid=9,path=/run/a,,b=c\"}"), 0);
	doc = config_to_json(&c);
	config_init(&again);
	cr_assert_eq(config_from_json(&again, doc, &why), 0);
	cr_assert(again.vsock);
	cr_assert_eq(again.vsock_cid, 9);
	cr_assert_str_eq(again.vsock_path, "/run/a,b=c");
	json_decref(doc);
	config_free(&again);
}

Test(config, from_json_when_a_key_is_left_out_keeps_what_was)
{
	cr_assert_eq(config_set_memory(&c, "1G", &why), 0);
	cr_assert_eq(from("{\"cpus\":4}"), 0);
	cr_assert_eq(c.memory_bytes, GIB(1));
	cr_assert_eq(c.cpus, 4);
}

static const struct {
	const char *text, *object, *message;
} refusals[] = {
	{ "", "config", NULL },
	{ "[]", "config", "not a JSON object" },
	{ "{\"cpus\":1", "config", NULL },
	{ "{\"cpus\":1,\"cpus\":2}", "config", NULL },
	{ "{\"cpu\":1}", "config: cpu", "unknown key" },
	{ "{\"cpus\":0}", "config: cpus", "out of range" },
	{ "{\"cpus\":-1}", "config: cpus", "negative" },
	{ "{\"cpus\":1025}", "config: cpus", "out of range" },
	{ "{\"cpus\":1.5}", "config: cpus", "wrong type" },
	{ "{\"cpus\":true}", "config: cpus", "wrong type" },
	{ "{\"cpus\":\"two\"}", "config: cpus", "not a number" },
	{ "{\"vsock\":\"cid=2\"}", "config: vsock", "no CID of a guest" },
	{ "{\"vsock\":\"cid=4294967295\"}", "config: vsock",
	  "no CID of a guest" },
	{ "{\"vsock\":\"cid=x\"}", "config: vsock", "no CID of a guest" },
	{ "{\"vsock\":\"path=\"}", "config: vsock", "empty path" },
	{ "{\"vsock\":\"port=5\"}", "config: vsock", "not a part of it" },
	{ "{\"vsock\":1}", "config: vsock", "wrong type" },
	{ "{\"memory\":\"12Q\"}", "config: memory", "not a size" },
	{ "{\"memory\":4097}", "config: memory", "too small" },
	{ "{\"memory\":2097153}", "config: memory", "not whole pages" },
	{ "{\"memory\":\"17T\"}", "config: memory", "too large" },
	{ "{\"memory\":99999999999999999999}", "config", NULL },
	{ "{\"kernel\":5}", "config: kernel", "wrong type" },
	{ "{\"kernel\":\"\"}", "config: kernel", "empty path" },
	{ "{\"kernel\":null}", "config: kernel", "wrong type" },
	{ "{\"kernel\":\"a\\u0000b\"}", "config", NULL },
	{ "{\"name\":\"../x\"}", "config: name", "not a name" },
	{ "{\"boot\":\"bios\"}", "config: boot", "not a boot protocol" },
	{ "{\"serial\":\"file\"}", "config: serial", "not a serial line" },
	{ "{\"serial\":\"file=\"}", "config: serial", "empty path" },
	{ "{\"serial\":\"none=x\"}", "config: serial", "not a serial line" },
	{ "{\"serial\":\"fil=x\"}", "config: serial", "not a serial line" },
	{ "{\"on_reboot\":\"\"}", "config: on_reboot", "not an action" },
};

Test(config, from_json_when_wrong_names_the_key_and_why)
{
	for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
		why = (struct fail){ .code = EXIT_OK };
		cr_expect_eq(from(refusals[i].text), -EINVAL, "%s",
			     refusals[i].text);
		cr_expect_eq(why.code, EXIT_USAGE, "%s", refusals[i].text);
		cr_expect_str_eq(why.object, refusals[i].object, "%s",
				 refusals[i].text);
		if (refusals[i].message)
			cr_expect_str_eq(why.message, refusals[i].message, "%s",
					 refusals[i].text);
		cr_expect_str_neq(why.hint, "", "%s", refusals[i].text);
	}
}

Test(config, from_json_when_nested_too_deep_is_refused)
{
	char *deep = malloc(CONFIG_MAX_BYTES + 1);

	cr_assert_not_null(deep);
	memset(deep, '[', CONFIG_MAX_BYTES);
	deep[CONFIG_MAX_BYTES] = '\0';
	cr_assert_eq(from(deep), -EINVAL);
	free(deep);
}

Test(config, set_when_text_is_not_utf8_is_refused)
{
	cr_assert_eq(config_set_kernel(&c, "/\xff", &why), -EINVAL);
	cr_assert_str_eq(why.message, "not UTF-8");
	cr_assert_eq(config_set_cmdline(&c, "\xc3", &why), -EINVAL);
	cr_assert_str_eq(c.cmdline, "");
}

Test(config, set_cmdline_when_longer_than_the_platform_holds_is_refused)
{
	char *text = malloc(CONFIG_CMDLINE_MAX + 1);

	cr_assert_not_null(text);
	memset(text, 'a', CONFIG_CMDLINE_MAX);
	text[CONFIG_CMDLINE_MAX] = '\0';
	cr_assert_eq(config_set_cmdline(&c, text, &why), -EINVAL);
	text[CONFIG_CMDLINE_MAX - 1] = '\0';
	cr_assert_eq(config_set_cmdline(&c, text, &why), 0);
	free(text);
}

Test(config, agent_is_a_flag_or_a_path)
{
	json_t *doc;

	cr_assert_eq(from("{\"agent\": \"/a.sock\", \"balloon\": true}"), 0);
	cr_assert(c.agent && c.balloon);
	cr_assert_str_eq(c.agent_path, "/a.sock");
	doc = config_to_json(&c);
	cr_assert_str_eq(json_string_value(json_object_get(doc, "agent")),
			 "/a.sock");
	json_decref(doc);
	cr_assert_eq(from("{\"agent\": true}"), 0);
	cr_assert(c.agent && !c.agent_path);
	doc = config_to_json(&c);
	cr_assert(json_is_true(json_object_get(doc, "agent")));
	json_decref(doc);
	cr_assert_eq(from("{\"agent\": false}"), 0);
	cr_assert_not(c.agent);
	cr_assert_eq(from("{\"agent\": 7}"), -EINVAL);
	cr_assert_eq(from("{\"agent\": \"\"}"), -EINVAL);
	cr_assert_eq(from("{\"balloon\": \"1G\"}"), -EINVAL);
	cr_assert_not(c.agent);
}

Test(config, set_serial_when_changed_forgets_the_path)
{
	cr_assert_eq(config_set_serial(&c, "file=/a", &why), 0);
	cr_assert_eq(config_set_serial(&c, "none", &why), 0);
	cr_assert_null(c.serial_path);
	cr_assert_eq(c.serial, SERIAL_NONE);
}

/* ---- disks ---- */

static int disk(const char *line)
{
	return config_add_disk(&c, line, &why);
}

Test(config, disk_when_only_a_path_is_given_has_the_defaults)
{
	cr_assert_eq(disk("a.raw"), 0);
	cr_assert_eq(disk("b,,c.raw"), 0);
	cr_assert_eq(c.ndisks, 2);
	cr_assert_str_eq(c.disk[0].path, "a.raw");
	cr_assert_str_eq(c.disk[1].path, "b,c.raw");
	cr_assert_str_eq(c.disk[0].id, "disk0");
	cr_assert_str_eq(c.disk[1].id, "disk1");
	cr_assert(!c.disk[0].read_only && !c.disk[0].direct);
	cr_assert(!c.disk[0].qcow2 && !c.disk[0].bps && !c.disk[0].iops);
}

Test(config, disk_when_all_is_said_has_it_and_prints_it_again)
{
	const char line[] = "p,id=d.1,direct,serial=a,,b,bps=10M,iops=7";
	const char want[] = "p,id=d.1,direct,serial=a,,b,bps=10485760,iops=7";
	struct vm_config again;
	json_t *doc;

	cr_assert_eq(disk(line), 0, "%s", why.message);
	cr_assert_str_eq(c.disk[0].serial, "a,b");
	cr_assert_eq(c.disk[0].bps, MIB(10));
	cr_assert_eq(c.disk[0].iops, 7);
	cr_assert(c.disk[0].direct);
	cr_assert_eq(disk("q,ro,format=qcow2"), 0, "%s", why.message);
	doc = config_to_json(&c);
	cr_assert_str_eq(
	    json_string_value(json_array_get(json_object_get(doc, "disk"), 0)),
	    want);
	config_init(&again);
	cr_assert_eq(config_from_json(&again, doc, &why), 0);
	cr_assert_eq(again.ndisks, 2);
	cr_assert(again.disk[1].qcow2 && again.disk[1].read_only);
	cr_assert_str_eq(again.disk[1].id, "disk1");
	config_free(&again);
	json_decref(doc);
}

Test(config, disk_that_makes_no_sense_is_refused_and_leaves_none)
{
	static const char *const lines[] = {
		"",
		"a,id=",
		"a,id=../x",
		"a,id=.x",
		"a,id=aaaaaaaaaaaaaaaaaaaaa",
		"a,ro,direct",
		"a,ro=1",
		"a,direct=yes",
		"a,id",
		"a,format=vmdk",
		"a,format=",
		"a,bps=",
		"a,bps=0",
		"a,iops=0",
		"a,iops=1x",
		"a,serial=",
		"a,serial=a b",
		"a,nonsense",
		"a,",
		"a,format=qcow2,direct",
		"a,serial=aaaaaaaaaaaaaaaaaaaaa",
		"a,bps=16777216T",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
		cr_assert_eq(disk(lines[i]), -EINVAL, "%s", lines[i]);
		cr_assert_eq(why.code, EXIT_USAGE);
		cr_assert(why.message[0] && why.hint[0], "%s", lines[i]);
		cr_assert_eq(c.ndisks, 0);
	}
	cr_assert_eq(disk("a,id=disk1"), 0);
	cr_assert_eq(disk("b"), -EINVAL, "two disks are disk1");
	cr_assert_eq(disk("b,id=disk1"), -EINVAL);
}

Test(config, disks_are_at_most_eight)
{
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		cr_assert_eq(disk("a"), 0);
	cr_assert_eq(disk("a"), -EINVAL);
}
