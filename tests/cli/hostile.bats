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
		# An instrumented program needs more files to be loaded at all.
		prlimit --nofile="$n" "$TINTYPE" version > /dev/null 2>&1 ||
			continue
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

@test "hostile: a path in any bytes is told in JSON, and by a detached VM" {
	path=/nowhere/$(printf 'é%.0s' {1..150})
	run -3 --separate-stderr "$TINTYPE" run --json --kernel "$path"
	[[ $stderr == '{"code":"E_NOT_FOUND","message":"No such file or directory"'* ]]
	run -3 "$TINTYPE" run --detach --kernel "$path"
	[[ $output == *": No such file or directory"* ]]
	run -2 --separate-stderr "$TINTYPE" run --json --kernel $'\xff\xfe'
	[[ $stderr == '{"code":"E_USAGE"'* ]]
	run -3 --separate-stderr "$TINTYPE" inspect --json $'\xff\xfe'
	[[ $stderr == '{"code":"E_NOT_FOUND"'* ]]
}

@test "hostile: a console file that is a pipe nobody reads" {
	needs_kvm
	mkfifo "$BATS_TEST_TMPDIR/fifo"
	run -1 timeout 20 "$TINTYPE" run --serial "file=$BATS_TEST_TMPDIR/fifo"
	[[ $output == *"fifo: No such device or address: "*"read it first" ]]
	timeout 20 cat "$BATS_TEST_TMPDIR/fifo" > "$BATS_TEST_TMPDIR/got" &
	until_true "$TINTYPE" run --memory 32M --cmdline 'run="flood 64"' \
		--serial "file=$BATS_TEST_TMPDIR/fifo"
	wait
	[ "$(grep -c flood "$BATS_TEST_TMPDIR/got")" = 1024 ]
}

@test "hostile: a detached VM without /dev/null says so, once" {
	needs_root
	unshare -m true || skip "no mount namespaces here"
	run -125 unshare -m sh -c \
		'mount -t tmpfs none /dev && "$TINTYPE" run --detach'
	[[ ${lines[0]} == "tintype: /dev/null: No such file or directory: "* ]]
	[ "${#lines[@]}" = 1 ]
}

@test "stop --kill: the name is free at once" {
	needs_kvm
	for _ in 1 2 3 4 5 6 7 8; do
		live_vm again
		"$TINTYPE" stop --kill again
	done
}
