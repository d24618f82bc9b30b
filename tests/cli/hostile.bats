#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a hostile guest, user or host does to a VM: it ends well, or goes on.

load helper

@test "hostile: a guest that reboots for ever can be paused at any moment" {
	needs_kvm
	"$TINTYPE" run --detach --name again --memory 32M \
		--cmdline 'run="reboot"' > /dev/null
	for _ in {1..60}; do
		"$TINTYPE" pause again > /dev/null
		"$TINTYPE" resume again > /dev/null
	done
	run -0 "$TINTYPE" stop --kill again
}
