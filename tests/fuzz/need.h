/* SPDX-License-Identifier: Apache-2.0 */
/* What a fuzz target insists on: an assert() for calls that do something. */
#ifndef TINTYPE_FUZZ_NEED_H
#define TINTYPE_FUZZ_NEED_H

#include <stdio.h>
#include <stdlib.h>

#define need(what)                                                             \
	((what) ? (void)0                                                      \
		: (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__,  \
			   #what),                                             \
		   abort()))

#endif
