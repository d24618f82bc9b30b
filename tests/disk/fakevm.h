/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM as a taker sees it: its control socket, its disks (disk_set.h) and a
 * MiB of memory, served by a thread of the test. It can be told to refuse, to
 * lie, or to be gone at a verb.
 */
#ifndef TINTYPE_TESTS_FAKEVM_H
#define TINTYPE_TESTS_FAKEVM_H

#include <pthread.h>

#include "swaptest.h"

#define FAKE_PAGES 256

enum fake_trouble {
	FAKE_WELL,
	FAKE_REFUSE,	/* the verb is refused */
	FAKE_DIE,	/* the VM is gone when it is asked for */
	FAKE_DIE_AFTER, /* it is done, and the answer is the last word */
	FAKE_WRITER,	/* wait: a writable fd of a layer stays open */
	FAKE_LATE,	/* wait: the same, for a moment */
	FAKE_OTHER_ID,	/* wait: a layer has another id than is told */
	FAKE_MISSING,	/* wait: a layer is not told of */
	FAKE_LONG,	/* wait: it is never sealed */
};

struct fakevm {
	struct swaptest s;
	struct vm_dir dir; /* as another process has it */
	uint8_t memory[FAKE_PAGES];
	enum fake_trouble trouble;
	const char *at; /* the verb */
	/* What came. */
	unsigned begun, aborted, committed;
	bool ended;
	struct object_id parent, memory_parent;
	/* private */
	pthread_t thread;
	struct control *control;
	struct control_request *request; /* the one at hand */
	json_t *result;			 /* of a seal */
	int layer_rw, layer_ro, leak;
	bool memory_too, open;
};

/* With so many disks (at most 1). The home is TINTYPE_HOME. */
void fakevm_init(struct fakevm *v, unsigned disks);
void fakevm_fini(struct fakevm *v);
/* Opens its disks, which v->s.rig writes; from fakevm_serve on they are its
 * thread's. Ends, as a VM that was killed. */
void fakevm_open(struct fakevm *v);
void fakevm_serve(struct fakevm *v);
void fakevm_stop(struct fakevm *v);

#endif
