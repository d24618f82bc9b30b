/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small encoder for AML, ACPI's byte code (ACPI 6.4, chapter 20): names,
 * integers, strings, packages, methods, and resource descriptors (6.4).
 *
 * What has a length is opened and closed; closing puts the length in front of
 * what was written since. A buffer that is too small is no error until the end:
 * nothing is written past it and aml_end says so. Names and nesting come from
 * our own code, so mistakes in them are asserted.
 *
 * Owner: whoever has the struct.
 */
#ifndef TINTYPE_AML_H
#define TINTYPE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AML_MAX_DEPTH 8

struct aml {
	uint8_t *buf;
	size_t size, len;
	bool full;
	unsigned depth;
	struct {
		size_t at; /* where its length is to go */
		bool resources;
	} open[AML_MAX_DEPTH];
};

void aml_begin(struct aml *a, void *buf, size_t size);
/* Bytes written, or -ENOSPC. Everything is closed. */
int64_t aml_end(const struct aml *a);

/* Objects and data. A path is segments of four characters ('_' fills up),
 * joined by dots, with a backslash in front for the root. */
void aml_name(struct aml *a, const char *seg); /* Name (seg, <next object>) */
void aml_path(struct aml *a, const char *path);
void aml_integer(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
void aml_eisaid(struct aml *a, const char *id); /* "PNP0501" */

/* Each is ended by aml_close. */
void aml_open_scope(struct aml *a, const char *path);
void aml_open_device(struct aml *a, const char *seg);
void aml_open_package(struct aml *a, uint8_t elements);
void aml_open_method(struct aml *a, const char *seg, unsigned args,
		     bool serialized);
void aml_open_resources(struct aml *a);
void aml_close(struct aml *a);

/* Name (seg, <value>), the common ones in one call. */
void aml_name_integer(struct aml *a, const char *seg, uint64_t v);
void aml_name_string(struct aml *a, const char *seg, const char *s);
void aml_name_eisaid(struct aml *a, const char *seg, const char *id);

/* A system I/O region and its one field of dword access over all of it. */
void aml_io_field(struct aml *a, const char *region, const char *field,
		  uint16_t port, uint8_t bytes);

/* Inside a method. */
void aml_store_local(struct aml *a, const char *path, unsigned local);
void aml_open_if_bit(struct aml *a, unsigned local, uint32_t bit);
void aml_notify(struct aml *a, const char *path, uint8_t value);

/* Inside resources: ports decoded by 16 bits; read/write memory; an edge,
 * active-high, exclusive interrupt. */
void aml_resource_io(struct aml *a, uint16_t base, uint8_t bytes);
void aml_resource_memory(struct aml *a, uint32_t base, uint32_t bytes);
void aml_resource_irq(struct aml *a, uint32_t gsi);

#endif
