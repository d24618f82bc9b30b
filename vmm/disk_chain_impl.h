/* SPDX-License-Identifier: Apache-2.0 */
/* A chain's inside, for disk_chain*.c alone. */
#ifndef TINTYPE_DISK_CHAIN_IMPL_H
#define TINTYPE_DISK_CHAIN_IMPL_H

#include <pthread.h>

#include "disk_chain.h"

/* A head that is written no more. The last ones are made by the writer, and
 * count once the I/O thread adopts them. */
struct frozen {
	struct head *head;
	int fd;		     /* read-write; -1 once it is sealed */
	int ro;		     /* read-only, the same file; -1: none yet */
	bool by_ro;	     /* its blocks are read by `ro` */
	bool durable;	     /* under settle_lock */
	struct layer *layer; /* `ro` is this one's then */
	struct image *image; /* root 0 of that */
	struct sealed *sealed;
	bool is_sealed; /* the file; sealed->head says as what */
	bool ready;	/* its layer can be read */
};

/* A sealed head whose layer is in no snapshot yet. */
struct sealed {
	struct disk_sealed_head head;
	struct sealed *next;
};

/* A head that is to take the present one's place. */
struct next_head {
	struct head *head; /* NULL: none */
	int fd;
	int ro; /* the present head's, if it lies on that; else -1 */
	/* Else it lies on this. */
	struct image *image;
	struct layer_set *layers;
};

struct disk_chain {
	const char *id;
	char name[CONFIG_DISK_ID_MAX + 8]; /* for messages */
	struct disk_io *io;
	struct loop *loop;
	struct disk *disk; /* NULL until it is made */
	struct layer_set *layers;
	int raw;
	uint64_t raw_bytes;
	struct sealed *sealed;			   /* oldest first */
	struct image *image;			   /* below all heads */
	struct frozen frozen[DISK_MAX_FROZEN + 1]; /* oldest first */
	unsigned nfrozen;
	struct head *head; /* in use */
	int fd;
	bool unmarked; /* `head` wants an empty commit; by settle_lock */
	struct next_head next;

	/* Held while frozen heads are made durable, by whoever comes first. */
	pthread_mutex_t settle_lock;
	struct loop_task settled;
};

int disk_chain_no_memory(const struct disk_chain *c, struct fail *why);
int disk_chain_open_head(const struct disk_chain *c, int fd,
			 const struct head_below *below, struct head **h,
			 struct fail *why);
void disk_chain_on_settled(struct loop_task *t);
/* Closes all that it has. `empty`: its file is cut to nothing. */
void disk_chain_end_frozen(struct disk_chain *c, struct frozen *z, bool empty);
/* Takes it from the ring and closes it; -1: nothing. */
void disk_chain_end_file(struct disk_chain *c, int *fd);
void disk_chain_free_sealed(struct disk_chain *c);

#endif
