/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a --config file: refused with a key, or printed as they were. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "config.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fail why = { .code = EXIT_OK };
	struct vm_config c, again;
	json_t *first, *second;

	config_init(&c);
	config_init(&again);
	if (config_from_text(&c, (const char *)data, size, &why)) {
		assert(why.code == EXIT_USAGE);
		assert(why.object[0] && why.message[0] && why.hint[0]);
		config_free(&c);
		config_free(&again);
		return 0;
	}
	assert(c.memory_bytes % PAGE_BYTES == 0);
	assert(c.cpus >= 1 && c.cpus <= CONFIG_MAX_CPUS);
	assert(!c.named || config_name_valid(c.name));
	assert(strlen(c.cmdline) < CONFIG_CMDLINE_MAX);
	for (unsigned i = 0; i < c.ndisks; i++) {
		assert(c.disk[i].path[0] && config_name_valid(c.disk[i].id));
		assert(!c.disk[i].direct || !c.disk[i].read_only);
		for (unsigned j = 0; j < i; j++)
			assert(strcmp(c.disk[i].id, c.disk[j].id));
	}
	first = config_to_json(&c);
	assert(first && config_from_json(&again, first, &why) == 0);
	second = config_to_json(&again);
	assert(json_equal(first, second));
	json_decref(first);
	json_decref(second);
	config_free(&c);
	config_free(&again);
	return 0;
}
