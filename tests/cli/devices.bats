#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Devices as a user has them: options, verbs, what inspect counts.

load helper

# of VM EXPRESSION: what Python makes of `inspect`'s document `d`, in which
# `dev` are its devices by name.
of() {
	"$TINTYPE" inspect --json "$1" | python3 -c "
import json, sys
d = json.load(sys.stdin)
dev = {x['name']: x for x in d['devices']}
print($2)"
}

balloon_json() {
	"$TINTYPE" balloon --json "$1" |
		python3 -c "import json, sys; b = json.load(sys.stdin); print($2)"
}

balloon_is() {
	[ "$(balloon_json "$1" "b['actual']")" = "$2" ]
}

# ---- inspect ----

@test "inspect: every device has its counters, each a number" {
	needs_kvm
	"$TINTYPE" run --detach --wait-ready --name web --memory 32M --rng \
		--balloon --cmdline 'run="rng 640; ready; spin"' > /dev/null
	[ "$(of web "all(type(n) is int for x in d['devices']
		for n in x['counters'].values())")" = True ]
	[ "$(of web "all(type(x['refused']) is int for x in d['devices'])")" = True ]
	[ "$(of web "sorted(dev)[0:2]")" = "['balloon0', 'debugexit0']" ]
	[ "$(of web "dev['rng0']['counters']['bytes']")" = 640 ]
	[ "$(of web "dev['rng0']['counters']['chains'] >= 10")" = True ]
	[ "$(of web "dev['balloon0']['counters']['inflated_pages']")" = 0 ]
	run -0 "$TINTYPE" inspect web
	[[ $output == *"bytes: 640"* ]]
	# As jq and shells take it without quotes.
	truncate -s 1M "$BATS_TEST_TMPDIR/disk"
	live_vm all --disk "$BATS_TEST_TMPDIR/disk" --net none --vsock --agent
	[ "$(of all "[n for x in d['devices'] for n in x['counters']
		if not n.replace('_', 'a').isalpha()]")" = "[]" ]
	run -0 "$TINTYPE" inspect all
	[[ $output == *"
  disk:
    - $BATS_TEST_TMPDIR/disk,id=disk0
"* ]]
	[[ $output != *"counters:
    state:"* ]]
}

@test "devices: more than the machine has windows for are refused at once" {
	needs_kvm
	truncate -s 1M "$BATS_TEST_TMPDIR/base"
	many=()
	for i in {1..8}; do
		many+=(--disk "$BATS_TEST_TMPDIR/base,ro,id=d$i" --net passt)
	done
	run -0 "$TINTYPE" run --dry-run "${many[@]}"
	run -2 "$TINTYPE" run --dry-run "${many[@]}" --rng
	[[ $output == *"17 virtio devices"*"at most 16"* ]]
	run -2 "$TINTYPE" run "${many[@]}" --agent --balloon --vsock < /dev/null
	[[ $output == *"19 virtio devices"* ]]
	[ ! -e "$TINTYPE_HOME/vms" ] || [ -z "$(ls "$TINTYPE_HOME/vms")" ]
}

# ---- balloon ----

@test "balloon: a guest keeps what it is asked to, and gets it back" {
	needs_kvm
	shell_vm web --balloon --cmdline 'run="balloon follow 200"'
	until_true log_has web following
	run -0 "$TINTYPE" balloon web --target 20M
	[[ $output == "memory: 32M
target: 20M
"* ]]
	until_true balloon_is web $((20 << 20))
	[ "$(of web "dev['balloon0']['counters']['inflated_pages']")" = 3072 ]
	[ "$(balloon_json web "b['target']")" = $((20 << 20)) ]
	[ "$(balloon_json web "sorted(b['statistics'])")" = "['free', 'total']" ]
	run -0 "$TINTYPE" setmem web -t 32M
	until_true balloon_is web $((32 << 20))
}

@test "balloon: statistics are those of now" {
	needs_kvm
	shell_vm web --balloon --cmdline 'run="balloon follow 200"'
	until_true log_has web following
	local before
	before=$(balloon_json web "b['statistics']['free']")
	"$TINTYPE" balloon web --target 20M > /dev/null
	until_true balloon_is web $((20 << 20))
	[ "$(balloon_json web "b['statistics']['free']")" = \
		$((before - (12 << 20))) ]
	run -0 "$TINTYPE" balloon web
	[[ $output == *"  free: "*M* ]]
}

@test "balloon: without a driver, or paused, nobody is waited for" {
	needs_kvm
	live_vm web --balloon
	run -0 "$TINTYPE" balloon web
	[[ $output == *"actual: 32M" ]]
	"$TINTYPE" pause web
	run -0 "$TINTYPE" balloon web --target 16M
	[[ $output == *"target: 16M"* ]]
}

@test "balloon: what cannot be is refused, with a reason" {
	needs_kvm
	live_vm plain
	run -5 "$TINTYPE" balloon plain
	[[ $output == *"has no balloon"*"run --balloon"* ]]
	live_vm web --balloon
	run -2 "$TINTYPE" balloon web --target 33M
	[[ $output == *"more than the VM has"* ]]
	# A number without its unit is not to starve the guest.
	run -2 "$TINTYPE" balloon web --target 20
	[[ $output == *"too small"*"2M"* ]]
	for size in 0 x -1 1.5G 99999999999999999999; do
		run -2 "$TINTYPE" balloon web --target="$size"
	done
	run -3 "$TINTYPE" balloon nobody
	run -2 "$TINTYPE" balloon
}

# ---- the guest agent's port ----

# echo_once SOCKET WORD: sends it, prints what comes back.
echo_once() {
	python3 - "$1" "$2" <<-'END'
	import socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.connect(sys.argv[1])
	s.sendall(sys.argv[2].encode())
	got = b""
	while len(got) < len(sys.argv[2]):
	    got += s.recv(100)
	print(got.decode())
	END
}

@test "agent: the socket is in the VM's directory, and gone with it" {
	needs_kvm
	shell_vm web --agent --cmdline 'run="agent"'
	local sock=$TINTYPE_HOME/vms/web/agent.sock
	[ "$(stat -c %a "$sock")" = 600 ]
	[ "$(echo_once "$sock" hello)" = hello ]
	[ "$(echo_once "$sock" again)" = again ]
	[ "$(of web "dev['agent0']['counters']['clients']")" = 2 ]
	[ "$(of web "d['config']['agent']")" = True ]
	"$TINTYPE" stop --kill web
	"$TINTYPE" rm web
	[ ! -e "$TINTYPE_HOME/vms/web" ]
}

@test "agent: a socket of one's own, never over a file" {
	needs_kvm
	local sock=$BATS_TEST_TMPDIR/own.sock
	shell_vm web --agent="$sock" --cmdline 'run="agent"'
	[ "$(echo_once "$sock" hello)" = hello ]
	run -4 "$TINTYPE" run --agent="$sock" < /dev/null
	touch "$BATS_TEST_TMPDIR/file"
	run -4 "$TINTYPE" run --agent="$BATS_TEST_TMPDIR/file" < /dev/null
	run -2 "$TINTYPE" run --agent= < /dev/null
	echo '{"agent": true, "balloon": true}' > "$BATS_TEST_TMPDIR/c.json"
	run -0 "$TINTYPE" run --config "$BATS_TEST_TMPDIR/c.json" --dry-run
	[[ $output == *'"agent": true'* ]]
}
