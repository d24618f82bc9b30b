#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `run --disk`: what may be a disk, who may use it at once, what stays.

load helper

setup() {
	bats_require_minimum_version 1.5.0
	export TINTYPE_HOME="$BATS_TEST_TMPDIR/home"
	cd "$BATS_TEST_TMPDIR"
	head -c $((1024 * 1024 + 1536)) /dev/urandom > base
	cp base before
}

teardown() {
	for vm in $("$TINTYPE" ps --quiet); do
		"$TINTYPE" stop --kill "$vm" || true
	done
	if [ -n "$mounted" ]; then
		until_true umount "$mounted" # the ring lets its files go a moment later
	fi
	if [ -n "$loop" ]; then
		losetup --detach "$loop"
	fi
	if [ -n "$shm" ]; then
		rm -r "$shm"
	fi
}

# guest SCRIPT OPTION...: what the demo guest does with its disks.
guest() {
	"$TINTYPE" run --memory 32M --cmdline "run=\"$1; poweroff\"" "${@:2}" \
		< /dev/null
}

refused() {
	local code=$1 want=$2
	shift 2
	run -"$code" "$TINTYPE" run --memory 32M --disk "$@" < /dev/null
	[[ $output == "tintype: "*"$want"* ]]
	[ "${#lines[@]}" = 1 ]
}

heads_of() {
	ls "$TINTYPE_HOME/vms/$1/heads"
}

head_of() {
	echo "$TINTYPE_HOME/vms/$1/heads/"*
}

# --- what may be a disk ---

@test "disk: what can be no disk is refused in one line" {
	mkdir dir
	: > empty
	head -c 1000 base > odd
	mkfifo pipe
	refused 3 "No such file" missing
	refused 2 "is a directory" dir
	refused 2 "is empty" empty
	refused 2 "1000 bytes are no whole sectors" odd
	[[ $output == *"truncate -s %512"* ]]
	# It may be no raw file at all: then enlarging it is no advice.
	[[ $output == *"format=qcow2"*"image export"* ]]
	refused 3 "give the path alone" path=base
	refused 3 "give the path alone" file=base
	refused 2 "neither a file nor a block device" pipe
}

@test "disk: a file of 64 TiB is large, one of more too large" {
	needs_kvm
	shm=$(mktemp -d /dev/shm/tintype-XXXXXX)
	truncate -s 64T "$shm/large"
	truncate -s 65T "$shm/huge"
	run -0 guest "disk 0 info; disk 0 write 137438953464 8; disk 0 flush; disk 0 check 137438953464 8" --disk "$shm/large"
	[[ $output == *"137438953472 sectors"* ]]
	refused 2 "too large" "$shm/huge"
}

@test "disk: rights that are missing are named" {
	needs_root
	chmod 600 base
	run -10 setpriv --reuid 65534 --regid 65534 --clear-groups \
		env TINTYPE_HOME="$BATS_TEST_TMPDIR/no" \
		"$TINTYPE" run --disk "$BATS_TEST_TMPDIR/base" < /dev/null
	[[ $output == *"Permission denied"* ]]
	chmod 644 base
	chmod 755 "$BATS_TEST_TMPDIR"
	run setpriv --reuid 65534 --regid 65534 --clear-groups \
		env TINTYPE_HOME="$BATS_TEST_TMPDIR/no" \
		"$TINTYPE" run --disk "$BATS_TEST_TMPDIR/base,direct" < /dev/null
	[[ $output == *"Permission denied"*"without 'direct'"* ]] ||
		[[ $output == *"Permission denied"* ]]
}

@test "disk: a word that no disk has is refused" {
	refused 2 "a setting that no disk has" base,size=4
	refused 2 "contradict" base,ro,direct
	refused 2 "not a format" base,format=vmdk
	run -2 "$TINTYPE" run --disk base,id=a --disk base,id=a
	[[ $output == *"another disk has that id"* ]]
}

@test "disk: a dry run opens the disks, prints them and makes nothing" {
	needs_kvm
	run -0 "$TINTYPE" run --name dry --disk base,ro --disk base --dry-run
	[[ $output == *'"base,id=disk0,ro"'*'"base,id=disk1"'* ]]
	[ ! -e "$TINTYPE_HOME" ]
	run -3 "$TINTYPE" run --disk missing --dry-run
	echo '{"disk": ["base,ro", "base,id=x"]}' > config
	run -0 "$TINTYPE" run --config config --dry-run
	[[ $output == *'"base,id=disk0,ro"'*'"base,id=x"'* ]]
}

# --- kinds ---

@test "disk: a head keeps what the guest wrote, and the base stays" {
	needs_kvm
	run -0 guest "disk 0 write 5 900 7; disk 0 flush" --name a --disk base
	cmp base before
	run -0 guest "disk 0 check 5 900 7" --name a --disk base
	[ "$(heads_of a | wc -l)" = 1 ]
}

@test "disk: what was never flushed is there after an orderly end, whatever ends it" {
	needs_kvm
	run -0 guest "disk 0 write 5 900 7" --name a --disk base
	run -0 guest "disk 0 check 5 900 7" --name a --disk base
	"$TINTYPE" run --detach --wait-ready --name b --memory 32M --disk base \
		--cmdline 'run="disk 0 write 5 900 8; ready; spin"' > /dev/null
	"$TINTYPE" stop --kill b
	run -0 guest "disk 0 check 5 900 8" --name b --disk base
}

@test "disk: the same without io_uring" {
	needs_kvm
	export TINTYPE_NO_IO_URING=1
	run -0 guest "disk 0 write 5 900 7; disk 0 discard 100 64; disk 0 flush" \
		--name a --disk base
	[[ $output == *"no io_uring"* ]]
	cmp base before
	run -0 guest "disk 0 check 5 90 7; disk 0 check 100 64 0" \
		--name a --disk base
	run -0 guest "disk 0 write 5 900 7; disk 0 discard 100 64; disk 0 flush" \
		--disk base,direct
	run -0 guest "disk 0 check 5 90 7; disk 0 check 100 64 0" --disk base,ro
}

@test "disk: direct writes through, ro refuses writes" {
	needs_kvm
	run -1 guest "disk 0 info; disk 0 write 0 8" --disk base,ro
	[[ $output == *"read-only"*"I/O error"* ]]
	cmp base before
	run -0 guest "disk 0 write 3 200 9; disk 0 flush" --disk base,direct
	! cmp -s base before
	run -0 guest "disk 0 check 3 200 9" --disk base,ro
}

@test "disk: export gives what the guest wrote" {
	needs_kvm
	script="disk 0 write 3 77 1; disk 0 write 1000 1000 2; disk 0 discard 500 301; disk 0 zero 2040 10; disk 0 flush"
	run -0 guest "$script" --name a --disk base
	cp base direct
	run -0 guest "$script" --disk direct,direct
	run -0 "$TINTYPE" image export "$(head_of a)" --below base out
	cmp out direct
	if command -v qemu-img > /dev/null; then
		qemu-img compare -f raw -F raw out direct
	fi
}

@test "disk: several, with ids and serials" {
	needs_kvm
	cp base second
	run -0 guest "disk 0 info; disk 1 info; disk 1 write 0 64 4; disk 0 write 0 64 5; disk 0 check 0 64 5; disk 1 check 0 64 4" \
		--disk base,id=root --disk second,serial=ABC,direct
	[[ $output == *"'root'"*"'ABC'"* ]]
	cmp base before
}

@test "disk: a file that is cut off under the guest is an I/O error, no more" {
	needs_kvm
	"$TINTYPE" run --detach --name cut --memory 32M --disk base,ro > /dev/null
	until_true log_has cut 'tintype> '
	truncate -s 4096 base
	printf 'disk 0 check 1024 8\rdisk 0 info\r' |
		timeout 1 "$TINTYPE" console cut > /dev/null || true
	until_true log_has cut 'I/O error'
	until_true log_has cut '2051 sectors'
	[ "$("$TINTYPE" ps --quiet)" = cut ]
}

@test "disk: a file that vanishes goes on as long as it is open" {
	needs_kvm
	"$TINTYPE" run --detach --name gone --memory 32M --disk base > /dev/null
	until_true log_has gone 'tintype> '
	rm base
	printf 'disk 0 write 0 64 3\rdisk 0 flush\rdisk 0 check 0 64 3\rexit 7\r' |
		timeout 5 "$TINTYPE" console gone > /dev/null || true
	until_true none_runs
	run -0 "$TINTYPE" inspect gone
	[[ $output == *"code: 7"* ]]
}

@test "disk: a full file system is an I/O error of the guest, and its VM lives" {
	needs_kvm
	needs_root
	mkdir small
	mount -t tmpfs -o size=600k,mode=700 tmpfs small 2> /dev/null ||
		skip "no mount is allowed here"
	mounted=$PWD/small
	export TINTYPE_HOME=$mounted
	run -1 --separate-stderr guest "disk 0 write 0 2000 3" --name full --disk base
	[[ $output == *"I/O error"* ]]
	[[ $stderr == *"No space left"* ]]
	cmp base before
	"$TINTYPE" rm full
}

@test "disk: a block device is written through, but not while it is mounted" {
	needs_kvm
	needs_root
	truncate -s 8M image
	loop=$(losetup --find --show image 2> /dev/null) ||
		skip "no loop device can be had here"
	run -0 guest "disk 0 info; disk 0 write 9 900 7; disk 0 discard 100 32; disk 0 flush" \
		--disk "$loop,direct"
	[[ $output == *"16384 sectors"* ]]
	run -0 guest "disk 0 check 9 91 7; disk 0 check 100 32 0" --disk "$loop,ro"
	live_vm d --disk "$loop,direct"
	refused 4 "" "$loop,direct"
	"$TINTYPE" stop --kill d
	mkfs.ext4 -q image
	mkdir mnt
	until_true mount "$loop" mnt 2> mount.log # the ring held it a moment ago
	mounted=$PWD/mnt
	run -4 guest "echo x" --disk "$loop,direct"
	[[ $output == *"unmount it"* ]]
	umount mnt
	mounted=
}

# --- who else ---

@test "disk: two VMs never write one file, nor what the other reads" {
	needs_kvm
	live_vm w --disk base,direct
	refused 4 "is used by VM w" base,direct
	refused 4 "is used by VM w" base
	refused 4 "is used by VM w" base,ro
	"$TINTYPE" stop --kill w
	live_vm r1 --disk base
	live_vm r2 --disk base,ro
	refused 4 "is used by VM r" base,direct
	[[ $output == *"leave out 'direct'"* ]]
	# A link is the same file; so is what another program has locked.
	ln base link
	refused 4 "is used by VM" link,direct
	cp base free
	run -4 flock_ofd free "$TINTYPE" run --disk free,direct
	[[ $output == *"is used by another"* ]]
}

flock_ofd() {
	python3 - "$@" <<- 'END'
		import fcntl, struct, subprocess, sys
		f = open(sys.argv[1], "r+b")
		lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
		fcntl.fcntl(f, 37, lock)  # F_OFD_SETLK
		sys.exit(subprocess.run(sys.argv[2:]).returncode)
	END
}

@test "disk: one VM cannot have one file twice when it writes it" {
	needs_kvm
	refused 2 "is given twice" base,direct --disk base,ro
	refused 2 "is given twice" base --disk base,id=b,direct
	ln base link
	refused 4 "is used by another" base,direct --disk link
	run -0 guest "disk 1 info" --disk base --disk base,ro
}

@test "disk: a VM that was killed holds no file" {
	needs_kvm
	live_vm k --disk base,direct
	kill -9 "$(pid_of)"
	until_true none_runs
	run -0 guest "disk 0 info" --disk base,direct
}

# --- what stays ---

@test "disk: an unnamed VM's changes go with it" {
	needs_kvm
	run -0 guest "disk 0 write 0 2000 3; disk 0 flush" --disk base
	[ "$(cat "$TINTYPE_HOME"/vms/auto-*/heads/* | wc -c)" = 0 ]
}

@test "disk: a base that is another one is refused, with what to do" {
	needs_kvm
	guest "disk 0 write 0 64 3; disk 0 flush" --name a --disk base > /dev/null
	cp base other
	run -4 guest "echo x" --name a --disk other
	[[ $output == *"not the file that this disk began with"*"tintype rm a"* ]]
	truncate -s 2M base
	run -4 guest "echo x" --name a --disk base
	[[ $output == *"another size"* ]]
	truncate -s $((1024 * 1024 + 1536)) base
	run -4 guest "echo x" --name a --disk base
	[[ $output == *"was changed since"* ]]
	touch -r before base
	run -4 guest "echo x" --name a --disk base,ro
	[[ $output == *"would not be seen"* ]]
	run -0 "$TINTYPE" rm a
	[ ! -e "$TINTYPE_HOME/vms/a" ]
	run -0 guest "disk 0 info" --name a --disk base
}

@test "disk: a base of any time is known again" {
	needs_kvm
	for year in 1960 2300; do
		touch -d "$year-02-03" base
		guest "disk 0 write 0 64 3; disk 0 flush" --name "y$year" --disk base > /dev/null
		run -0 guest "disk 0 check 0 64 3" --name "y$year" --disk base
	done
	touch base
	run -4 guest "echo x" --name y1960 --disk base
	[[ $output == *"was changed since"* ]]
}

@test "disk: a base whose whole path cannot be kept is refused before it has changes" {
	needs_kvm
	mkdir $'\xff'
	cp base $'\xff/base'
	cd $'\xff'
	run -2 guest "disk 0 write 0 64 3" --name a --disk base
	[[ $output == *"not UTF-8"* ]]
	run -0 guest "disk 0 info" --disk base,ro
	cd ..
	run -0 guest "disk 0 info" --name a --disk base
	[ "$(heads_of a | wc -l)" = 1 ]
}

@test "disk: each name on the way to a head is synced before the guest writes" {
	needs_kvm
	command -v strace > /dev/null || skip "strace is not installed"
	run -0 strace -f -y -e trace=fsync -o trace "$TINTYPE" run --name a \
		--memory 32M --cmdline "run=poweroff" --disk base < /dev/null
	for dir in "" /vms /vms/a /vms/a/heads; do
		grep -q "fsync([0-9]*<$TINTYPE_HOME$dir>) *= 0" trace
	done
}

@test "disk: what a start left half made is gone after the next" {
	needs_kvm
	guest "disk 0 write 0 64 3; disk 0 flush" --name a --disk base > /dev/null
	: > "$TINTYPE_HOME/vms/a/heads/disk0.new"
	: > "$TINTYPE_HOME/vms/a/heads/disk0.0123456789abcdef0123456789abcdef"
	run -0 guest "disk 0 check 0 64 3" --name a --disk base
	[ "$(heads_of a | wc -l)" = 1 ]
	# A start that broke off before roots.json: the head is nobody's.
	rm "$TINTYPE_HOME/vms/a/roots.json"
	run -0 guest "disk 0 info" --name a --disk base
	[ "$(heads_of a | wc -l)" = 1 ]
	run -1 guest "disk 0 check 0 64 3" --name a --disk base
}

# start_and_kill NAME
start_and_kill() {
	"$TINTYPE" run --name "$1" --memory 32M --disk base \
		--cmdline 'run="spin"' < /dev/null > /dev/null 2>&1 &
	local pid=$!
	sleep "0.00$((RANDOM % 10))"
	kill -9 "$pid"
	wait "$pid" || true
}

@test "disk: a start that is killed at any moment hinders no later one" {
	needs_kvm
	guest "disk 0 write 0 64 3; disk 0 flush" --name a --disk base > /dev/null
	for _ in {1..25}; do
		start_and_kill a
		start_and_kill new
	done
	run -0 guest "disk 0 check 0 64 3" --name a --disk base
	[ "$(heads_of a | wc -l)" = 1 ]
	run -0 guest "disk 0 write 0 64 3; disk 0 flush" --name new --disk base
	run -0 guest "disk 0 check 0 64 3" --name new --disk base
	[ "$(heads_of new | wc -l)" = 1 ]
}

@test "disk: no room for a head is told before the guest runs" {
	needs_kvm
	needs_root
	mkdir tiny
	mount -t tmpfs -o size=48k,mode=700 tmpfs tiny 2> /dev/null ||
		skip "no mount is allowed here"
	mounted=$PWD/tiny
	export TINTYPE_HOME=$mounted
	run -8 guest "disk 0 info" --name a --disk base
	[[ $output == "tintype: "*"No space left"* ]]
	[ -z "$(heads_of a)" ]
}

@test "disk: a VM that runs without its disk keeps it" {
	needs_kvm
	guest "disk 0 write 0 64 3; disk 0 flush" --name a --disk base > /dev/null
	run -0 guest "echo none" --name a
	cp base second
	run -0 guest "disk 0 info" --name a --disk second,id=second
	run -0 guest "disk 0 check 0 64 3" --name a --disk base
	[ "$(heads_of a | wc -l)" = 2 ]
}

@test "disk: heads and roots.json that were tampered with are refused" {
	needs_kvm
	guest "disk 0 write 0 64 3; disk 0 flush" --name a --disk base > /dev/null
	vm="$TINTYPE_HOME/vms/a"
	cp "$vm/roots.json" roots
	for text in '' '[]' '{"v":1}' '{"v":1,"heads":{"disk0":"../x"},"bases":{}}' \
		'{"v":1,"heads":{},"bases":{"../x":{}}}' \
		'{"v":1,"heads":{"disk0":"0123456789abcdef0123456789abcdef"},"bases":{}}'; do
		printf %s "$text" > "$vm/roots.json"
		run -6 guest "echo x" --name a --disk base
		[[ $output == *"roots.json is damaged"*"tintype rm a"* ]]
	done
	echo '{"v":2}' > "$vm/roots.json"
	run -7 guest "echo x" --name a --disk base
	cp roots "$vm/roots.json"
	head=$(head_of a)
	mv "$head" aside
	run -6 guest "echo x" --name a --disk base
	[[ $output == *"is missing"* ]]
	ln -s "$PWD/aside" "$head"
	run guest "echo x" --name a --disk base
	[ "$status" != 0 ]
	rm "$head"
	head -c 100 aside > "$head"
	run -6 guest "echo x" --name a --disk base
	cp aside "$head"
	run -0 guest "disk 0 check 0 64 3" --name a --disk base
}

@test "disk: a capture that is being made keeps run away" {
	needs_kvm
	guest "echo x" --name a --disk base > /dev/null
	run -4 flock_ofd "$TINTYPE_HOME/vms/a/capture.lock" \
		"$TINTYPE" run --name a --disk base
	[[ $output == *"a capture of it"* ]]
}

# The name that a head's file has.
name_head() {
	local uid
	uid=$(od -An -tx1 -j16 -N16 "$1" | tr -d ' \n')
	mv "$1" "$(dirname "$1")/disk0.$uid"
}

@test "disk: a VM goes on over what a capture has sealed or left frozen" {
	needs_kvm
	guest "disk 0 write 0 64 3; disk 0 flush" --name a --disk base > /dev/null
	# Sealed, and the next head was never used: the VM gets one.
	"$MKHEAD" --seal "$(head_of a)"
	run -0 guest "disk 0 check 0 64 3; disk 0 write 100 33 7; disk 0 flush" \
		--name a --disk base
	[ "$(heads_of a | wc -l)" = 2 ]
	# A next head with a commit over that one: block 0 is 1s.
	heads=$TINTYPE_HOME/vms/a/heads
	top=$(sed -n 's/.*"disk0": "\([0-9a-f]*\)".*/\1/p' \
		"$TINTYPE_HOME/vms/a/roots.json" | head -n 1)
	"$MKHEAD" "$heads/new" "$(stat -c %s base)" "$heads/disk0.$top" 0
	name_head "$heads/new"
	for _ in 1 2; do
		run -0 guest "disk 0 check 8 56 3; disk 0 check 100 33 7" \
			--name a --disk base
		[ "$(heads_of a | wc -l)" = 3 ]
	done
	run -1 guest "disk 0 check 0 64 3" --name a --disk base
}

# --- qcow2 ---

@test "disk: qcow2 is imported once, by its name only" {
	needs_kvm
	command -v qemu-img > /dev/null || skip "qemu-img is not installed"
	cp base mine
	truncate -s 1M mine
	qemu-img convert -f raw -O qcow2 mine q.qcow2
	cp q.qcow2 q.before
	run -0 guest "disk 0 info; disk 0 write 0 64 3; disk 0 flush" \
		--name q --disk q.qcow2,format=qcow2
	[[ $output == *"importing qcow2"*"2048 sectors"* ]]
	cmp q.qcow2 q.before
	run -0 guest "disk 0 check 0 64 3" --name q --disk q.qcow2,format=qcow2
	[[ $output != *importing* ]]
	run -0 "$TINTYPE" image export "$(head_of q)" \
		--below "$TINTYPE_HOME/vms/q/bases/disk0.raw" out
	cmp -i $((64 * 512)) out mine
	# Raw is raw, whatever it begins with.
	truncate -s %512 q.qcow2
	run -0 guest "disk 0 info" --disk q.qcow2
	[[ $output != *"2048 sectors"* ]]
	# A name that promises something else is worth a word.
	[[ $output == *"q.qcow2: is taken as raw"*"format=qcow2"* ]]
	run -0 guest "disk 0 info" --disk base
	[[ $output != *"taken as raw"* ]]
}

@test "disk: what an unnamed VM imported goes with it" {
	needs_kvm
	command -v qemu-img > /dev/null || skip "qemu-img is not installed"
	qemu-img convert -f raw -O qcow2 base q.qcow2
	run -0 guest "disk 0 info; disk 0 write 0 64 3; disk 1 info" \
		--disk q.qcow2,format=qcow2 --disk q.qcow2,format=qcow2,ro
	[[ $output == *"'disk1', 2051 sectors"* ]]
	[ -z "$(find "$TINTYPE_HOME"/vms/auto-*/bases -type f -size +0)" ]
}

@test "disk: qcow2 that refers to other files is refused, and none is read" {
	needs_kvm
	command -v qemu-img > /dev/null || skip "qemu-img is not installed"
	truncate -s 1M secret
	qemu-img create -q -f qcow2 -b "$PWD/secret" -F raw backed.qcow2
	run -10 guest "echo x" --disk backed.qcow2,format=qcow2
	[[ $output == *"has a backing file"* ]]
	qemu-img create -q -f qcow2 -o data_file=data.raw,data_file_raw=on data.qcow2 1M
	run -10 guest "echo x" --disk data.qcow2,format=qcow2
	[[ $output == *"data in another file"* ]]
	qemu-img convert -f raw -O qcow2 base crypt.qcow2 \
		--object secret,id=s,data=12345678 -o encrypt.format=aes,encrypt.key-secret=s
	run -10 guest "echo x" --disk crypt.qcow2,format=qcow2
	[[ $output == *"is encrypted"* ]]
}

@test "disk: qcow2 is judged before qemu-img sees it, and what that refuses leaves nothing" {
	needs_kvm
	mkdir bin
	printf '#!/bin/sh\necho seen >> "%s/seen"\nexit 1\n' "$PWD" > bin/qemu-img
	chmod +x bin/qemu-img
	PATH=$PWD/bin:$PATH
	truncate -s 64K q # version 3, backing file at 0x68, of one cluster
	printf 'QFI\xfb\0\0\0\3\0\0\0\0\0\0\0\x68\0\0\0\4\0\0\0\x10\0\0\0\0\0\x10\0\0' |
		dd of=q conv=notrunc status=none
	run -10 guest "echo x" --disk q,format=qcow2
	[[ $output == *"has a backing file"* ]]
	printf '\0' | dd of=q bs=1 seek=15 conv=notrunc status=none
	printf '\4' | dd of=q bs=1 seek=79 conv=notrunc status=none
	run -10 guest "echo x" --disk q,format=qcow2
	[[ $output == *"data in another file"* ]]
	refused 2 "is no qcow2 file" base,format=qcow2
	[ ! -e seen ]
	printf '\0' | dd of=q bs=1 seek=79 conv=notrunc status=none
	run -1 guest "echo x" --name n --disk q,format=qcow2
	[[ $output == *"qemu-img could not convert it"* ]]
	[ -e seen ]
	[ -z "$(ls "$TINTYPE_HOME/vms/n/bases")" ]
}

@test "disk: without qemu-img qcow2 says what is missing" {
	needs_kvm
	truncate -s 64K q
	printf 'QFI\xfb\0\0\0\2%16s\0\0\0\0\0\x10\0\0' "" | tr ' ' '\0' |
		dd of=q conv=notrunc status=none
	run -1 env PATH=/nowhere "$TINTYPE" run --disk q,format=qcow2
	[[ $output == *"needs qemu-img"*"qemu-utils"* ]]
}

# A qemu-img that takes its time, and says who it is.
slow_qemu_img() {
	mkdir bin
	cat > bin/qemu-img <<- END
		#!/bin/sh
		echo \$\$ > "$PWD/pid.new"
		mv "$PWD/pid.new" "$PWD/pid"
		exec sleep 100
	END
	chmod 755 bin/qemu-img
}

# A zombie has no words.
has_ended() {
	! grep -q . "/proc/$1/cmdline" 2> /dev/null
}

@test "disk: an import ends with who asked for it, however that ends" {
	needs_kvm
	command -v qemu-img > /dev/null || skip "qemu-img is not installed"
	qemu-img create -q -f qcow2 q.qcow2 1M
	slow_qemu_img
	for signal in KILL TERM; do
		rm -f pid
		PATH="$PWD/bin:$PATH" "$TINTYPE" run --name q --memory 32M \
			--disk q.qcow2,format=qcow2 < /dev/null > out 2>&1 3>&- &
		until_true test -e pid
		kill -"$signal" $!
		wait $! || true
		until_true has_ended "$(cat pid)"
	done
	run -0 guest "disk 0 info" --name q --disk q.qcow2,format=qcow2
}
