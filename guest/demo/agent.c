/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's end of the agent's port: what a program in Linux finds under
 * /dev/virtio-ports. It sends back what it gets.
 */
#include "demo.h"
#include "virtio.h"

#define F_MULTIPORT (1ull << 1)
#define ROOM	    4 /* buffers to receive into */
#define BYTES	    512

enum { RECEIVE, TRANSMIT, CONTROL_IN, CONTROL_OUT, QUEUES };
enum { DEVICE_READY, PORT_ADD, PORT_READY = 3, PORT_OPEN = 6, PORT_NAME };

struct message {
	uint32_t id;
	uint16_t event, value;
	char name[64];
};

static struct virtio_dev dev;
static struct virtio_queue queue[QUEUES];
static struct message heard[ROOM], said;
static char in[ROOM][BYTES];
static unsigned in_id[ROOM], heard_id[ROOM];
static bool open;

/* One buffer to the device, and until it is taken. */
static void send(unsigned q, void *data, uint32_t len)
{
	struct virtio_buf buf = { data, len, false };
	uint32_t written;
	unsigned id;

	if (virtio_offer(&queue[q], &buf, 1) < 0)
		guest_panic("agent: no room in an empty queue");
	while (!virtio_take(&queue[q], &id, &written))
		cpu_relax();
}

static void say(uint16_t event, uint16_t value)
{
	said = (struct message){ .event = event, .value = value };
	send(CONTROL_OUT, &said, 8);
}

static void give_room(unsigned q, void *data, uint32_t len, unsigned *id)
{
	struct virtio_buf buf = { data, len, true };

	*id = (unsigned)virtio_offer(&queue[q], &buf, 1);
}

/* Which of the buffers has come back; false: none. */
static bool take(unsigned q, const unsigned *ids, unsigned *i, uint32_t *len)
{
	unsigned id;

	if (!virtio_take(&queue[q], &id, len))
		return false;
	for (*i = 0; *i < ROOM; ++*i)
		if (ids[*i] == id)
			return true;
	guest_panic("agent: a buffer that was never given");
}

static void hear(const struct message *m, uint32_t len)
{
	switch (m->event) {
	case PORT_ADD:
		say(PORT_READY, 1);
		break;
	case PORT_NAME:
		print("agent: port ");
		put(m->name, len - 8);
		print("\n");
		say(PORT_OPEN, 1);
		open = true;
		break;
	case PORT_OPEN:
		print("agent: client %s\n", m->value ? "here" : "gone");
		break;
	}
}

static bool set_up(void)
{
	const char *why;

	if (queue[RECEIVE].ring)
		return true;
	if (!virtio_find(VIRTIO_ID_CONSOLE, 0, &dev)) {
		print("agent: there is no port; run with --agent\n");
		return false;
	}
	why = virtio_begin(&dev, F_MULTIPORT);
	for (unsigned i = 0; i < QUEUES && !why; i++)
		why = virtio_queue(&dev, i, 16, &queue[i]);
	if (why) {
		print("agent: the device %s\n", why);
		return false;
	}
	virtio_go(&dev);
	for (unsigned i = 0; i < ROOM; i++) {
		give_room(CONTROL_IN, &heard[i], sizeof(heard[i]),
			  &heard_id[i]);
		give_room(RECEIVE, in[i], BYTES, &in_id[i]);
	}
	say(DEVICE_READY, 1);
	return true;
}

/* Sends what comes back, until so many bytes have come or Ctrl-C. */
static int cmd_agent(unsigned argc, char **argv)
{
	uint64_t left;
	uint32_t len;
	unsigned i;

	if (!demo_number(argc, argv, 1, UINT64_MAX, UINT64_MAX, &left))
		return DEMO_USAGE;
	if (!set_up())
		return DEMO_FAILED;
	while (left && !console_break()) {
		if (take(CONTROL_IN, heard_id, &i, &len)) {
			hear(&heard[i], len);
			give_room(CONTROL_IN, &heard[i], sizeof(heard[i]),
				  &heard_id[i]);
		}
		if (open && take(RECEIVE, in_id, &i, &len)) {
			send(TRANSMIT, in[i], len);
			give_room(RECEIVE, in[i], BYTES, &in_id[i]);
			left -= len < left ? len : left;
		}
		cpu_relax();
	}
	return 0;
}

const struct command agent_commands[] = {
	{ "agent", "[BYTES]", "send back what comes at the guest agent's port",
	  cmd_agent, 0, 1, true },
	{ NULL, NULL, NULL, NULL, 0, 0, false },
};
