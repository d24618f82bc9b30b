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

@test "hostile: a signal that the parent had us ignore does nothing" {
	needs_kvm
	live=(--memory 32M --cmdline 'run="ready; spin"')
	(trap '' HUP INT QUIT; "$TINTYPE" run --detach --wait-ready \
		--name held "${live[@]}" > /dev/null)
	pid=$(pid_of)
	kill -HUP "$pid"
	kill -INT "$pid"
	kill -QUIT "$pid"
	"$TINTYPE" inspect held > /dev/null
	kill -TERM "$pid"
	until_true none_runs
	run -0 "$TINTYPE" inspect held
	[[ $output == *"ended by SIGTERM"* ]]
}

@test "hostile: a limit on file sizes ends no VM and is no crash" {
	needs_kvm
	(ulimit -f 4; "$TINTYPE" run --detach --wait-ready --name limited \
		--memory 32M --cmdline 'run="ready; flood 64; exit 3"')
	until_true none_runs
	run -0 "$TINTYPE" inspect limited
	[[ $output == *"code: 3"* ]]
	# Through a pipe: a message to a file would be too large, too.
	run -1 bash -c 'set -o pipefail
		(ulimit -f 0; exec "$TINTYPE" run < /dev/null) 2>&1 | cat'
	[[ $output == "tintype: "*"File too large"* ]]
}
