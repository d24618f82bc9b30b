/* SPDX-License-Identifier: Apache-2.0 */
/* By SO_PEERCRED: the user that connected, whatever it has become since. */
#include "peer.h"

#include <sys/socket.h>

bool peer_allowed(int fd, uid_t owner)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == owner);
}
