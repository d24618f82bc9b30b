/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the line that a program of the host says to the vsock broker:
 * refused, or a port that is printed as it was read. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "vsock_broker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *line = (const char *)data, *digits;
	char again[32];
	uint32_t port;

	if (vsock_parse_connect(line, size, &port))
		return 0;
	assert(size > 8 && size <= VSOCK_BROKER_LINE && port != UINT32_MAX);
	/* Leading zeros are all that may differ. */
	digits = line + 8;
	while (digits + 1 < line + size && *digits == '0')
		digits++;
	assert(snprintf(again, sizeof(again), "%u", port) ==
	       line + size - digits);
	assert(!memcmp(again, digits, (size_t)(line + size - digits)));
	return 0;
}
