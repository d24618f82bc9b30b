/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtio device gives to be fuzzed by ring.c: steps that write its
 * registers, RAM and rings, kick it, pause it, and let the host's side act.
 */
#ifndef TINTYPE_FUZZ_RING_H
#define TINTYPE_FUZZ_RING_H

#include "virtio.h"

/* Makes a device (twice: the second one only judges states). */
struct virtio *ring_make(const struct virtio_config *c, struct loop *loop);
/* Before each input, after a reset: the host's side as it was made. */
void ring_fresh(struct virtio *v);
/* Something happens on the host. */
void ring_host(struct virtio *v, uint8_t kind, uint16_t a, uint32_t b);

#endif
