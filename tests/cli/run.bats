#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `run`: what it boots, what it refuses, and with which code it ends.

load helper

demo() {
	"$TINTYPE" run --memory 32M --cmdline "run=\"$1\"" "${@:2}" < /dev/null
}

@test "run: without a kernel boots the demo guest" {
	needs_kvm
	run -0 demo "exit 0"
	[[ $output == *"tintype demo guest: 1 CPUs, 32 MiB"* ]]
}

@test "run: ends with the guest's own code" {
	needs_kvm
	run -0 demo "exit 0"
	run -7 demo "exit 7"
	run -255 demo "exit 255"
}

@test "run: a guest that powers off ends with 0" {
	needs_kvm
	run -0 demo "poweroff"
}

@test "run: a panic and a triple fault end with 134 and say so" {
	needs_kvm
	run -134 --separate-stderr demo "crash panic"
	[[ $stderr == "tintype: auto-"*": the guest panicked"* ]]
	run -134 --separate-stderr demo "crash triple"
	[[ $stderr == *"triple-faulted"* ]]
	run -134 --separate-stderr demo "crash panic" --quiet
	[ -z "$stderr" ]
}

@test "run: a reboot starts the guest again, or ends with 0" {
	needs_kvm
	run -0 demo "reboot" --on-reboot exit
	"$TINTYPE" run --detach --name again --memory 32M > /dev/null
	until_true log_has again 'tintype> '
	printf 'reboot\r' | timeout 1 "$TINTYPE" console again > /dev/null || true
	booted_twice() {
		[ "$("$TINTYPE" logs again | grep -c 'demo guest:')" -ge 2 ]
	}
	until_true booted_twice
	[ "$("$TINTYPE" ps --quiet)" = again ]
}

@test "run: several processors and much memory" {
	needs_kvm
	run -0 "$TINTYPE" run --cpus 2 --memory 5G --cmdline 'run="mem"' \
		< /dev/null
	[[ $output == *"2 CPUs, 5120 MiB"* ]]
}

@test "run: output that nobody takes is told once, and is in the log" {
	needs_kvm
	run -0 sh -c '"$TINTYPE" run --name full --memory 32M --cmdline \
		"run=\"echo one; echo two\"" < /dev/null 2>&1 > /dev/full'
	[ "${#lines[@]}" = 1 ]
	[[ $output == *"No space left on device"*"tintype logs"* ]]
	[[ $("$TINTYPE" logs full) == *one*two* ]]
}

@test "run: input from a pipe reaches the guest" {
	needs_kvm
	run -9 timeout -s TERM 30 sh -c \
		'printf "exit 9\r" | "$TINTYPE" run --memory 32M'
}

@test "run: prints exactly what the guest prints, to a pipe and to a file" {
	needs_kvm
	demo "flood 64" > "$BATS_TEST_TMPDIR/pipe"
	demo "flood 64" --serial "file=$BATS_TEST_TMPDIR/file"
	cmp "$BATS_TEST_TMPDIR/pipe" "$BATS_TEST_TMPDIR/file"
	demo "flood 64" --serial "file=$BATS_TEST_TMPDIR/file"
	cat "$BATS_TEST_TMPDIR/pipe" "$BATS_TEST_TMPDIR/pipe" |
		cmp - "$BATS_TEST_TMPDIR/file"
}

@test "run: --serial none prints nothing, and logs has it" {
	needs_kvm
	run -3 demo "exit 3" --serial none --name quiet
	[ -z "$output" ]
	log_has quiet "demo guest"
}

@test "run: --serial socket and --share-console are consoles" {
	needs_kvm
	for how in --serial=socket= --share-console=; do
		"$TINTYPE" run --detach --name s --memory 32M \
			"$how$BATS_TEST_TMPDIR/sock"
		until_true log_has s 'tintype> '
		printf 'echo over the socket\r' |
			timeout 10 socat -t 10 - "UNIX:$BATS_TEST_TMPDIR/sock" \
				> /dev/null &
		until_true log_has s '^over the socket'
		"$TINTYPE" stop --kill s
		wait
	done
}

@test "run: a socket's path may be taken by a file or a program" {
	needs_kvm
	touch "$BATS_TEST_TMPDIR/file"
	run -4 demo "exit 0" --share-console "$BATS_TEST_TMPDIR/file"
	[[ $output == *"socket $BATS_TEST_TMPDIR/file: File exists"* ]]
	live_vm s --share-console "$BATS_TEST_TMPDIR/sock"
	run -4 demo "exit 0" --share-console "$BATS_TEST_TMPDIR/sock"
	[[ $output == *"Address already in use"* ]]
}

# ---- --config, --dry-run ----

@test "run: --config is read and options override it" {
	needs_kvm
	echo '{"memory":"64M","cpus":2,"cmdline":"run=\"exit 4\""}' \
		> "$BATS_TEST_TMPDIR/c.json"
	run -4 "$TINTYPE" run --config "$BATS_TEST_TMPDIR/c.json" \
		--memory 48M < /dev/null
	[[ $output == *"2 CPUs, 48 MiB"* ]]
}

@test "run: --dry-run prints the configuration and makes nothing" {
	needs_kvm
	run -0 "$TINTYPE" run --dry-run --name x --memory 1G -- a b
	[[ $output == *'"memory": 1073741824'* ]]
	[[ $output == *'"cmdline": "-- a b"'* ]]
	[ ! -e "$TINTYPE_HOME" ]
}

@test "run: a --config file has a switch for what is one" {
	cd "$BATS_TEST_TMPDIR"
	echo '{"vsock": true, "agent": true, "rng": true}' > a.json
	run -0 "$TINTYPE" run --config a.json --dry-run
	[[ $output == *'"rng": true'*'"agent": true'*'"vsock": "cid=3"'* ]]
	echo '{"vsock": false, "agent": false, "rng": false}' > a.json
	run -0 "$TINTYPE" run --config a.json --dry-run
	[[ $output != *vsock* && $output != *agent* && $output != *rng* ]]
}

@test "run: what --dry-run prints is a --config file" {
	needs_kvm
	"$TINTYPE" run --dry-run --name x --cpus 2 --cmdline 'a "b"' \
		> "$BATS_TEST_TMPDIR/1"
	"$TINTYPE" run --dry-run --config "$BATS_TEST_TMPDIR/1" \
		> "$BATS_TEST_TMPDIR/2"
	cmp "$BATS_TEST_TMPDIR/1" "$BATS_TEST_TMPDIR/2"
}

@test "run: a --config file that is wrong is refused with the place" {
	cd "$BATS_TEST_TMPDIR"
	echo '{"memory":12' > a.json
	run -2 "$TINTYPE" run --config a.json
	[[ $output == "tintype: config: line 2"* ]]
	echo '{"memroy":"1G"}' > b.json
	run -2 "$TINTYPE" run --config b.json
	[[ $output == "tintype: config: memroy: unknown key: use name, "* ]]
	# Which of them it is.
	echo '{"disk": ["a.raw", "b.raw,foo"]}' > d.json
	run -2 "$TINTYPE" run --config d.json
	[[ $output == "tintype: config: disk: b.raw,foo: a setting that no"* ]]
	echo '{"agent": 1}' > d.json
	run -2 "$TINTYPE" run --config d.json
	[[ $output == *"use true, false or a string" ]]
	head -c 70000 /dev/zero > c.json
	run ! "$TINTYPE" run --config c.json
	[[ $output == *"config c.json: File too large"* ]]
	run -3 "$TINTYPE" run --config none.json
}

# ---- --detach ----

@test "run: --detach prints the name and the VM goes on" {
	needs_kvm
	run -0 "$TINTYPE" run --detach --name web --memory 32M
	[ "$output" = web ]
	[ "$("$TINTYPE" ps --quiet)" = web ]
}

@test "run: --detach leaves the caller's pipe, terminal and directory alone" {
	needs_kvm
	# Would wait for the VM's end if that held the pipe.
	name=$(cd "$BATS_TEST_TMPDIR" && "$TINTYPE" run -d --memory 32M | cat)
	[[ $name == auto-* ]]
	[ "$("$TINTYPE" ps --quiet)" = "$name" ]
}

@test "run: --detach brings failures of the start to the caller" {
	needs_kvm
	echo no kernel > "$BATS_TEST_TMPDIR/k"
	run --separate-stderr "$TINTYPE" run -d --kernel "$BATS_TEST_TMPDIR/k"
	[ "$status" -ne 0 ]
	[ -z "$output" ]
	[[ $stderr == "tintype: kernel "* || $stderr == "tintype: $BATS_TEST_TMPDIR/k"* ]]
	[ "${#stderr_lines[@]}" = 1 ]
	run -3 "$TINTYPE" run -d --kernel /does/not/exist
}

@test "run: --wait-ready ends when the guest is ready" {
	needs_kvm
	live_vm web
	run -0 "$TINTYPE" ps --json
	[[ $output == *'"ready": true'* ]]
}

@test "run: --wait-ready out of time is 9 and the VM goes on" {
	needs_kvm
	run -9 --separate-stderr "$TINTYPE" run -d --wait-ready=1 --name web \
		--memory 32M --cmdline 'run="spin"'
	[ "$output" = web ]
	[[ $stderr == "tintype: web: not ready after 1 s: "* ]]
	[ "$("$TINTYPE" ps --quiet)" = web ]
}

@test "run: --wait-ready has the code of a VM that ended before" {
	needs_kvm
	run -5 --separate-stderr "$TINTYPE" run -d --wait-ready --name web \
		--memory 32M --cmdline 'run="exit 5"'
	[[ $stderr == "tintype: web: ended before it was ready (code 5)"* ]]
	run -1 "$TINTYPE" run -d --wait-ready --name web \
		--memory 32M --cmdline 'run="poweroff"'
	run -134 "$TINTYPE" run -d --wait-ready --name web \
		--memory 32M --cmdline 'run="crash panic"'
}

# ---- names ----

@test "run: a name that is taken is a conflict" {
	needs_kvm
	live_vm web
	run -4 demo "exit 0" --name web
	[[ $output == "tintype: web: a VM of this name is running: "* ]]
	run -4 "$TINTYPE" run --dry-run --name web
	[ "$("$TINTYPE" ps --quiet)" = web ]
}

@test "run: the name of a VM that ended is free again" {
	needs_kvm
	run -5 demo "exit 5" --name web
	run -6 demo "exit 6" --name web
	run -0 "$TINTYPE" inspect web
	[[ $output == *"code: 6"* ]]
}

@test "run: a VM that was killed hinders nothing" {
	needs_kvm
	live_vm web
	kill -9 "$(pid_of)"
	until_true none_runs
	run -0 "$TINTYPE" ps --all
	[[ $output == *"web "*"killed"* ]]
	run -5 "$TINTYPE" stop web
	run -7 demo "exit 7" --name web
}

@test "run: an unnamed VM leaves nothing once it is over" {
	needs_kvm
	demo "exit 0"
	"$TINTYPE" ps
	[ -z "$(ls "$TINTYPE_HOME/vms")" ]
}

@test "run: a name that is none is refused" {
	for name in '' .. a/b -x 'a b' "$(printf 'a%.0s' {1..64})"; do
		run -2 "$TINTYPE" run --name "$name" --dry-run
		[[ $output == *"not a name"* ]]
	done
}

# ---- bad input ----

@test "run: usage errors name the option, the value and the remedy" {
	run -2 "$TINTYPE" run --memory 12Q
	[ "$output" = "tintype: run: --memory 12Q: not a size: use e.g. 512M or 2G" ]
	run -2 "$TINTYPE" run --memry 1G
	[ "$output" = "tintype: run: --memry: unknown option: did you mean --memory?" ]
	run -2 "$TINTYPE" run --cpus 0
	run -2 "$TINTYPE" run --cpus
	run -2 "$TINTYPE" run --boot bios
	run -2 "$TINTYPE" run --serial file
	run -2 "$TINTYPE" run --initrd x
	run -2 "$TINTYPE" run --wait-ready
	run -2 "$TINTYPE" run kernel
	# What may be left out is given with "=" only.
	run -2 "$TINTYPE" run --vsock cid=5
	[[ $output == *"cid=5: one operand too many: use --vsock=cid=5" ]]
	run -2 "$TINTYPE" run --rng cid=5
	[[ $output == *"see 'tintype help run'" ]]
}

@test "run: --json makes a failure one JSON object" {
	run -2 --separate-stderr "$TINTYPE" run --json --memory 12Q
	[ "$stderr" = '{"code":"E_USAGE","message":"not a size","object":"run: --memory 12Q","hint":"use e.g. 512M or 2G"}' ]
	[ -z "$output" ]
}

@test "run: a kernel that is missing, a directory or a pipe" {
	run -3 "$TINTYPE" run --kernel /does/not/exist
	[[ $output == "tintype: kernel /does/not/exist: No such file or directory" ]]
	run -2 "$TINTYPE" run --kernel /
	mkfifo "$BATS_TEST_TMPDIR/fifo"
	run -2 "$TINTYPE" run --kernel "$BATS_TEST_TMPDIR/fifo"
	[[ $output == *"not a file"* ]]
}

@test "run: a kernel that is no kernel, empty or truncated" {
	needs_kvm
	cd "$BATS_TEST_TMPDIR"
	: > empty
	head -c 100000 /dev/zero > zeros
	echo '#!/bin/sh' > script
	head -c 80 "$TINTYPE" > head
	head -c 20000 "$TINTYPE" > cut
	for k in empty zeros script head cut; do
		run --separate-stderr "$TINTYPE" run --kernel "$k" < /dev/null
		[ "$status" -ne 0 ]
		[ "$status" -ne 125 ]
		[ "$status" -lt 128 ]
		[ "${#stderr_lines[@]}" = 1 ]
		[[ $stderr == "tintype: "*"$k"* ]]
	done
}

@test "run: more memory than there is" {
	run -8 "$TINTYPE" run --memory 8T
	[[ $output == "tintype: run: --memory 8T: more than this host has"* ]]
	run -2 "$TINTYPE" run --memory 17T
	run -2 "$TINTYPE" run --memory 4K
}

@test "run: too little memory for the kernel" {
	needs_kvm
	run --separate-stderr "$TINTYPE" run --memory 2M --kernel "$TINTYPE"
	[ "$status" -ne 0 ]
	[ "$status" -lt 125 ]
}

@test "run: more processors than KVM gives" {
	needs_kvm
	max=$("$TINTYPE" doctor | sed -n 's/.*up to \([0-9]*\) a VM/\1/p')
	[ "$max" -lt 1024 ] || skip "KVM gives as many as --cpus takes"
	run -7 demo "exit 0" --cpus 1024
}

# Another user, without the group, with a home of its own: $nobody, which bats's
# own directories do not let him reach.
make_nobody() {
	nobody=$(mktemp -d)
	chmod 755 "$nobody"
	mkdir "$nobody/home"
	chown 65534:65534 "$nobody/home"
	cp "$TINTYPE" "$nobody/tintype"
}

as_nobody() {
	setpriv --reuid 65534 --regid 65534 --clear-groups \
		env TINTYPE_HOME="$nobody/home" HOME=/nonexistent \
		"$nobody/tintype" "$@"
}

@test "run: no permission on /dev/kvm is 10 and says how to get it" {
	needs_kvm
	needs_root
	[ "$(stat -c %a /dev/kvm | tail -c 2)" = 0 ] ||
		skip "everybody may use /dev/kvm here"
	make_nobody
	run -10 as_nobody run
	[[ $output == "tintype: /dev/kvm: permission denied: "* ]]
	# By joining its group, or where it has none of its own by giving it one.
	[[ $output == *"usermod -aG kvm"* || $output == *"sudo chown"* ]]
	run -10 as_nobody run --detach
	run -1 as_nobody doctor
	[[ $output == *"fail"*"/dev/kvm"* ]]
	rm -rf "$nobody"
}

@test "run: without /dev/kvm says which module to load" {
	needs_root
	unshare -m true || skip "no mount namespaces here"
	run -125 unshare -m sh -c \
		'mount -t tmpfs none /dev && "$TINTYPE" run'
	[[ $output == "tintype: /dev/kvm: No such file or directory: "*"modprobe kvm-intel"* ]]
}

@test "run: a home that others own or may write to is refused" {
	mkdir -p "$TINTYPE_HOME"
	chmod 777 "$TINTYPE_HOME"
	run -10 "$TINTYPE" run
	[[ $output == *"others may write to it"* ]]
	chmod 700 "$TINTYPE_HOME"
	needs_root
	chown 65534 "$TINTYPE_HOME"
	run -10 "$TINTYPE" run
	[[ $output == *"belongs to user 65534"* ]]
}

@test "run: a VM's directory that is a link is refused" {
	mkdir -p -m 700 "$TINTYPE_HOME/vms"
	ln -s /tmp "$TINTYPE_HOME/vms/web"
	run -10 "$TINTYPE" run --name web
	[[ $output == *"its directory is a link"* ]]
}

@test "run: a home with a long path works" {
	needs_kvm
	export TINTYPE_HOME="$TINTYPE_HOME/$(printf 'a%.0s' {1..200})"
	live_vm web
	[ "$("$TINTYPE" ps --quiet)" = web ]
	"$TINTYPE" stop --kill web
}

@test "run: SIGHUP, SIGINT, SIGQUIT and SIGTERM end the VM with 9" {
	needs_kvm
	for signal in HUP INT QUIT TERM; do
		live_vm web
		kill -$signal "$(pid_of)"
		until_true none_runs
		run -0 "$TINTYPE" inspect web
		[[ $output == *"code: 9"* ]]
		[[ $output == *"ended by SIG$signal"* ]]
	done
}

@test "run: output past the limit of a file's size is lost, not the VM" {
	needs_kvm
	run -3 sh -c 'ulimit -f 16 && "$TINTYPE" run --memory 32M \
		--cmdline "run=\"flood 200; exit 3\"" \
		< /dev/null > "$BATS_TEST_TMPDIR/out"'
}

# A back end that cannot run it must not leave its user before a mute terminal.
@test "run: a bzImage on kvm-pvm comes with a warning" {
	needs_kvm
	"$TINTYPE" doctor | grep -q kvm-pvm || skip "this back end runs Linux"
	head -c 2048 /dev/zero >"$BATS_TEST_TMPDIR/k"
	printf HdrS | dd of="$BATS_TEST_TMPDIR/k" bs=1 seek=514 conv=notrunc \
		2>/dev/null
	run "$TINTYPE" run --kernel "$BATS_TEST_TMPDIR/k"
	[[ $output == *"do not boot on this host's kvm-pvm"* ]]
}

@test "run: a kernel that is not there leaves the last run's log alone" {
	needs_kvm
	run -0 demo "echo precious" --name kept
	run -3 "$TINTYPE" run --name kept --kernel /nonexistent/vmlinuz
	[[ $("$TINTYPE" logs kept) == *precious* ]]
}
