/* SPDX-License-Identifier: Apache-2.0 */
/* The id in RAM is always the one in the state. */
#include "vmgenid.h"

#include <string.h>

#include "log.h"
#include "platform.h"
#include "util.h"

static const struct state_field vmgenid_fields[] = {
	STATE_ARRAY(struct vmgenid_state, id, 1),
};
static const struct state_desc vmgenid_desc =
    STATE_DESC("vmgenid", 1, struct vmgenid_state, vmgenid_fields);

static struct vmgenid *vmgenid_of(struct device *d)
{
	return container_of(d, struct vmgenid, dev);
}

static void publish(struct vmgenid *g)
{
	int err = gmem_write(g->ram, GPA(PLATFORM_VMGENID), g->st.id,
			     sizeof(g->st.id));

	/* RAM always covers the first MiB. */
	if (err)
		log_error(g->dev.name, "write id to guest RAM: %s",
			  strerror(-err));
}

static void vmgenid_reset(struct device *d)
{
	struct vmgenid *g = vmgenid_of(d);

	memcpy(g->st.id, g->id, sizeof(g->id));
	publish(g);
}

/* Any 16 bytes are an id; they are in the RAM that was restored, too. */
static int vmgenid_restored(struct device *d)
{
	struct vmgenid *g = vmgenid_of(d);

	memcpy(g->id, g->st.id, sizeof(g->id));
	return 0;
}

static const struct device_ops vmgenid_ops = {
	.type = "vmgenid",
	.state = &vmgenid_desc,
	.reset = vmgenid_reset,
	.restored = vmgenid_restored,
};

void vmgenid_init(struct vmgenid *g, const char *name, struct gmem *ram,
		  struct power *power, const uint8_t id[VMGENID_BYTES])
{
	*g = (struct vmgenid){ .ram = ram, .power = power };
	memcpy(g->id, id, sizeof(g->id));
	device_init(&g->dev, &vmgenid_ops, name, &g->st);
	vmgenid_reset(&g->dev);
}

void vmgenid_set(struct vmgenid *g, const uint8_t id[VMGENID_BYTES])
{
	pthread_mutex_lock(&g->dev.lock);
	memcpy(g->id, id, sizeof(g->id));
	memcpy(g->st.id, id, sizeof(g->id));
	publish(g);
	pthread_mutex_unlock(&g->dev.lock);
	power_notify_vmgenid(g->power);
}
