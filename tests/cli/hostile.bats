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

@test "hostile: however few files may be open, one line tells and nothing stays" {
	needs_kvm
	for n in {5..26}; do
		run prlimit --nofile="$n" "$TINTYPE" run --memory 32M \
			--cmdline 'run="exit 3"' < /dev/null
		[ "$status" = 3 ] || [ "$status" = 1 ] || [ "$status" = 125 ]
		[ "$status" = 3 ] || [[ $output == "tintype: "*"Too many open files"* ]]
		[ "${#lines[@]}" = 1 ]
	done
	[ "$status" = 3 ]
	"$TINTYPE" ps
	run -0 ls "$TINTYPE_HOME/vms"
	[ -z "$output" ]
	run -1 bash -c '(ulimit -f 0; exec "$TINTYPE" run < /dev/null) 2>&1 |
		cat; exit "${PIPESTATUS[0]}"'
	run -0 ls "$TINTYPE_HOME/vms"
	[ -z "$output" ]
}
