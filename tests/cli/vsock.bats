#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# virtio-vsock as a user has it: the demo guest's vsock command, socat, and the
# broker between them.

load helper

setup() {
	export TINTYPE_HOME="$BATS_TEST_TMPDIR/home"
	bats_require_minimum_version 1.5.0
	work=$BATS_TEST_TMPDIR
	sock=$work/v
}

# The VM $1 with a vsock at $sock, running the guest's commands $2, ready.
vsock_vm() {
	"$TINTYPE" run --detach --wait-ready --name "$1" --memory 32M \
		--vsock=path="$sock" --cmdline "run=\"$2\"" > /dev/null
}

# Says CONNECT $1, then stdin; what comes after the line of the answer.
talk() {
	{ printf 'CONNECT %s\n' "$1"; cat; } |
		socat -t60 - UNIX-CONNECT:"$sock" | tail -n +2
}

# serve PORT ADDRESS [-u]: listens on the host's port and connects each to that
# address of socat's; -u: only what the guest sends.
serve() {
	socat ${3-} "UNIX-LISTEN:$sock"_"$1",fork "$2" 3>&- &
	servers+=($!)
	until_true test -S "$sock"_"$1"
}

teardown() {
	for pid in "${servers[@]}"; do
		kill "$pid" || true
	done
	for vm in $("$TINTYPE" ps --quiet); do
		"$TINTYPE" stop --kill "$vm" || true
	done
}

brokers() {
	pgrep -x tintype-vsock -P "$1"
}

@test "vsock: a host program gets its bytes back, and the end of them" {
	needs_kvm
	vsock_vm echo 'vsock listen 5'
	head -c 3000000 /dev/urandom > "$work/in"
	talk 5 < "$work/in" > "$work/out"
	cmp "$work/in" "$work/out"
	until_true log_has echo '1 connections, 3000000 bytes echoed'
}

@test "vsock: the guest's bytes reach who listens on PATH_PORT" {
	needs_kvm
	serve 7 "OPEN:$work/got,creat,append" -u
	run -0 "$TINTYPE" run --memory 32M --vsock=path="$sock" \
		--cmdline 'run="vsock connect 7 2000000"' < /dev/null
	[[ $output == *"sent 2000000 bytes, crc "*"; received 0 bytes"* ]]
	sum=$(python3 -c 'import sys, zlib
data = open(sys.argv[1], "rb").read()
print(len(data), "%08x" % zlib.crc32(data))' "$work/got")
	[[ $output == *"crc ${sum#2000000 };"* ]]
}

@test "vsock: both ways at once, from the guest's side" {
	needs_kvm
	serve 7 EXEC:cat
	run -0 "$TINTYPE" run --memory 32M --vsock=cid=77,path="$sock" \
		--cmdline 'run="vsock connect 7 1000000"' < /dev/null
	[[ $output =~ "sent 1000000 bytes, crc "([0-9a-f]+)"; received 1000000 bytes, crc "([0-9a-f]+) ]]
	[ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[2]}" ]
}

@test "vsock: nobody listens, on either side" {
	needs_kvm
	vsock_vm echo 'vsock listen 5 2'
	# Another port of the guest's: hung up on without a word.
	run -0 talk 6 < /dev/null
	[ -z "$output" ]
	run -0 sh -c "printf 'CONNECT 6\n' | socat -t60 - UNIX-CONNECT:$sock"
	[ -z "$output" ]
	run -0 sh -c "printf 'HELO\n' | socat -t60 - UNIX-CONNECT:$sock"
	[ -z "$output" ]
	# The guest, of a port of ours.
	run -1 "$TINTYPE" run --memory 32M --vsock=path="$sock.2" \
		--cmdline 'run="vsock connect 9"' < /dev/null
	[[ $output == *"nobody listens on port 9 of the host"* ]]
}

@test "vsock: many at once each get their own" {
	needs_kvm
	vsock_vm echo 'vsock listen 5 24'
	for i in $(seq 24); do
		head -c $((i * 3001)) /dev/urandom > "$work/in.$i"
		talk 5 < "$work/in.$i" > "$work/out.$i" 3>&- &
		pids[i]=$!
	done
	for i in $(seq 24); do
		wait "${pids[i]}"
		cmp "$work/in.$i" "$work/out.$i"
	done
	until_true log_has echo '24 connections, '
}

@test "vsock: one that stalls holds up no other" {
	needs_kvm
	vsock_vm echo 'vsock listen 5 9'
	# It sends for ever and reads nothing.
	{ printf 'CONNECT 5\n'; cat /dev/zero; } 3>&- |
		socat -u - UNIX-CONNECT:"$sock" 3>&- &
	stalled=$!
	connected() {
		"$TINTYPE" inspect --json echo | tr -d ' ,' |
			grep -q '"connected":1'
	}
	until_true connected
	head -c 100000 /dev/urandom > "$work/in"
	for _ in 1 2 3; do
		talk 5 < "$work/in" > "$work/out"
		cmp "$work/in" "$work/out"
	done
	kill "$stalled"
	wait "$stalled" || true
	talk 5 < "$work/in" | cmp "$work/in"
}

@test "vsock: a guest that never reads costs nobody anything" {
	needs_kvm
	vsock_vm deaf 'vsock deaf 5'
	{ printf 'CONNECT 5\n'; cat /dev/zero; } 3>&- |
		socat -u - UNIX-CONNECT:"$sock" 3>&- &
	until_true log_has deaf 'does not listen'
	[ "$("$TINTYPE" ps --quiet)" = deaf ]
	"$TINTYPE" pause deaf
	"$TINTYPE" resume deaf
	"$TINTYPE" stop --kill deaf
	wait $! || true
}

@test "vsock: a host program that leaves in the middle" {
	needs_kvm
	vsock_vm echo 'vsock listen 5 2'
	{ printf 'CONNECT 5\n'; head -c 500000 /dev/zero; } |
		socat -t0 - UNIX-CONNECT:"$sock" | head -c 5000 > /dev/null || true
	echo still here | talk 5 > "$work/out"
	[ "$(cat "$work/out")" = "still here" ]
	until_true log_has echo '2 connections, '
}

@test "vsock: its path is the VM's own unless given, and inspect shows it" {
	needs_kvm
	"$TINTYPE" run --detach --wait-ready --name own --memory 32M --vsock \
		--cmdline 'run="vsock listen 5"' > /dev/null
	sock=$TINTYPE_HOME/vms/own/vsock.sock
	[ "$(stat -c %a "$sock")" = 600 ]
	run -0 "$TINTYPE" inspect own
	[[ $output == *"vsock: $sock"* ]]
	[ "$(echo hello | talk 5)" = hello ]
}

@test "vsock: a path with a long directory works both ways" {
	needs_kvm
	long=$work/$(printf 'd%.0s' $(seq 120))
	mkdir -p "$long"
	sock=$long/v
	# socat itself cannot name it.
	cd "$long"
	socat UNIX-LISTEN:v_7,fork EXEC:cat 3>&- &
	servers+=($!)
	until_true test -S v_7
	run -0 "$TINTYPE" run --memory 32M --vsock=path="$sock" \
		--cmdline 'run="vsock connect 7 1000"' < /dev/null
	[[ $output == *"received 1000 bytes"* ]]
}

@test "vsock: a path that another VM has is refused, and why is said" {
	needs_kvm
	vsock_vm one 'vsock listen 5'
	run -4 "$TINTYPE" run --memory 32M --vsock=path="$sock" < /dev/null
	[[ $output == *"vsock $sock: Address already in use"*"another path"* ]]
	touch "$work/file"
	run -4 "$TINTYPE" run --memory 32M --vsock=path="$work/file" < /dev/null
	[[ $output == *"File exists"* ]]
	[ -f "$work/file" ]
	run -3 "$TINTYPE" run --memory 32M --vsock=path="$work/no/v" < /dev/null
	run -2 "$TINTYPE" run --memory 32M --vsock=cid=2 < /dev/null
	[[ $output == *"no CID of a guest"* ]]
}

@test "vsock: a VM that ends takes its socket along, and can begin again" {
	needs_kvm
	for _ in 1 2 3 4 5; do
		run -0 "$TINTYPE" run --memory 32M --vsock=path="$sock" \
			--cmdline 'run="exit 0"' < /dev/null
		[ ! -e "$sock" ]
	done
}

@test "vsock: kill -9 of the VM ends its broker, which removes the socket" {
	needs_kvm
	vsock_vm shot 'vsock listen 5'
	vm=$(pid_of)
	broker=$(brokers "$vm")
	[ -n "$broker" ]
	kill -9 "$vm"
	gone() {
		[ ! -e "$sock" ] && ! kill -0 "$broker" 2> /dev/null
	}
	until_true gone
	vsock_vm shot 'vsock listen 5'
	[ "$(echo again | talk 5)" = again ]
}

@test "vsock: kill -9 of the broker leaves the VM and its connections" {
	needs_kvm
	vsock_vm echo 'vsock listen 5 9'
	mkfifo "$work/to"
	{ printf 'CONNECT 5\n'; cat "$work/to"; } 3>&- |
		socat -t60 - UNIX-CONNECT:"$sock" > "$work/out" 3>&- &
	exec 8> "$work/to"
	echo before >&8
	until_true grep -q before "$work/out"
	kill -9 "$(brokers "$(pid_of)")"
	echo after >&8
	until_true grep -q after "$work/out"
	exec 8>&-
	[ "$("$TINTYPE" ps --quiet)" = echo ]
	"$TINTYPE" stop --kill echo
}

@test "vsock: the broker has nothing of the VM's, and no more than it needs" {
	needs_kvm
	vsock_vm boxed 'vsock listen 5'
	broker=$(brokers "$(pid_of)")
	status() {
		awk -v f="$1:" '$1 == f { print $2 }' "/proc/$broker/status"
	}
	[ "$(status Seccomp)" = 2 ]
	[ "$(status NoNewPrivs)" = 1 ]
	[ "$(status CapEff)" = 0000000000000000 ]
	needs_root
	# Its link, its socket, and nothing thrice.
	run -0 sh -c "ls -l /proc/$broker/fd | grep -c -- '->'"
	[ "$output" = 5 ]
	run -0 sh -c "ls -l /proc/$broker/fd | grep -c /dev/null"
	[ "$output" = 3 ]
}

@test "vsock: another user's programs are hung up on" {
	needs_kvm
	needs_root
	command -v setpriv > /dev/null || skip "setpriv is not here"
	# Where another user gets to.
	open=$(mktemp -d /tmp/tintype-vsock.XXXXXX)
	chmod 711 "$open"
	sock=$open/v
	vsock_vm echo 'vsock listen 5 9'
	chmod 777 "$sock"
	setpriv --reuid 65534 --clear-groups test -w "$sock"
	run sh -c "printf 'CONNECT 5\nx' |
		setpriv --reuid 65534 --clear-groups socat -t5 - UNIX-CONNECT:$sock"
	[[ $output != *OK* ]]
	[ "$(echo mine | talk 5)" = mine ]
	"$TINTYPE" stop --kill echo
	rmdir "$open"
}
