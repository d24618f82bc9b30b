#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Snapshots of VMs that run: taken, gone on from, restored, copied; and what is
# left when a side fails.

load helper

setup() {
	bats_require_minimum_version 1.5.0
	export TINTYPE_HOME="$BATS_TEST_TMPDIR/home"
	needs_kvm
	truncate -s 4M "$BATS_TEST_TMPDIR/base"
}

snapshot() {
	"$TINTYPE" snapshot "$@"
}

# json KEY...: of the document on stdin, as Python indexes it.
json() {
	python3 -c 'import json, sys
d = json.load(sys.stdin)
for key in sys.argv[1:]:
    d = d[int(key) if key.isdigit() else key]
print(d)' "$@"
}

# A VM with a shell and a disk.
disk_vm() {
	shell_vm "$1" --disk "$BATS_TEST_TMPDIR/base,id=root" "${@:2}"
	until_true log_has "$1" 'tintype> '
}

# say VM COMMAND...: to its shell; prints what it answers.
say() {
	python3 - "$TINTYPE_HOME/vms/$1" "${*:2}" <<- 'END'
		import os, socket, sys
		os.chdir(sys.argv[1])
		s = socket.socket(socket.AF_UNIX)
		s.connect("console.sock")
		s.sendall(sys.argv[2].encode() + b"\recho said so\r")
		heard = b""
		while b"\nsaid so" not in heard:
		    more = s.recv(4096)
		    if not more:
		        break
		    heard += more
		print(heard.decode(errors="replace").replace("\r", ""))
	END
}

# The VM has what fill SEED wrote to memory and to the disk.
has() {
	say "$1" "check $2 1" | grep -q "seed $2: 0 pages differ"
	disk_has "$1" "$2"
}

disk_has() {
	say "$1" "disk 0 check 0 8 $2" > "$BATS_TEST_TMPDIR/said"
	grep -q 'disk: check 8 sectors at 0' "$BATS_TEST_TMPDIR/said"
	! grep -q 'not as written' "$BATS_TEST_TMPDIR/said"
}

fill() {
	say "$1" "fill $2 1" > /dev/null
	say "$1" "disk 0 write 0 8 $2" > /dev/null
	say "$1" "disk 0 flush" > /dev/null
}

heads() {
	ls "$TINTYPE_HOME/vms/$1/heads" | wc -l
}

@test "create: prints the name, and the VM runs on" {
	disk_vm web
	fill web 7
	run -0 snapshot create web@a
	[ "$output" = web@a ]
	run -0 snapshot create web
	[[ "$output" = web@auto-* ]]
	has web 7
	[ "$(heads web)" = 1 ]
	run -0 snapshot list -q web
	[ "${#lines[@]}" = 2 ]
}

@test "create: description, labels and expiry are kept" {
	disk_vm web
	run -0 snapshot take web@a --description 'two words' \
		--label k=v -l k=w --label e= --expiry 3d --json
	[ "$(json name <<< "$output")" = web@a ]
	run -0 snapshot show web@a --json
	[ "$(json description <<< "$output")" = 'two words' ]
	[ "$(json labels k <<< "$output")" = w ]
	[ -z "$(json labels e <<< "$output")" ]
	[ "$(json expiry <<< "$output")" != None ]
	[ "$(json config name <<< "$output")" = web ]
}

@test "create: what cannot be is refused by name" {
	run -3 snapshot create web@a
	disk_vm web
	run -2 snapshot create web@a --label x
	run -2 snapshot create web@a --label /=x
	run -2 snapshot create web@a --expiry soon
	run -2 snapshot create web@a --expiry 0d
	run -2 snapshot create web@a --disk-only --stop
	run -2 snapshot create web@
	run -0 snapshot create web@a
	run -4 snapshot create web@a
	[[ "$output" = *"web@a: there is such a snapshot already"* ]]
	"$TINTYPE" stop --kill web > /dev/null
	run -5 snapshot create web@b
	[[ "$output" = *"web: is not running"* ]]
}

@test "create: disks alone are booted from" {
	disk_vm web
	fill web 7
	run -0 snapshot create web@d --disk-only
	[ "$(snapshot show web@d --json | json memory)" = False ]
	run -0 "$TINTYPE" run --detach --from web@d --name w2
	until_true log_has w2 'tintype> '
	disk_has w2 7
}

@test "create: a VM without disks has none to take alone" {
	shell_vm web
	run -5 snapshot create web@d --disk-only
	[[ "$output" = *"has no disk that changes"* ]]
	run -0 snapshot create web@a
}

@test "create: --stop, and it goes on as the same machine, once" {
	disk_vm web
	fill web 7
	run -0 snapshot create web@night --stop
	run -0 none_runs
	[ -e "$TINTYPE_HOME/vms/web/saved.json" ]
	run -0 snapshot restore web@night
	[ ! -e "$TINTYPE_HOME/vms/web/saved.json" ]
	has web 7
}

@test "create: a full file system leaves nothing, and the VM runs on" {
	needs_root
	mkdir -m 700 "$TINTYPE_HOME"
	mount -t tmpfs -o size=24M,mode=700 none "$TINTYPE_HOME" || skip "no mount"
	disk_vm web
	fill web 7
	say web "fill 9 12" > /dev/null
	run -8 snapshot create web@a
	[ -z "$(ls -A "$TINTYPE_HOME/store/refs" "$TINTYPE_HOME/store/layers" \
		| grep -v : | tr -d '\n')" ]
	[ "$(heads web)" = 1 ]
	disk_has web 7
	"$TINTYPE" stop --kill web > /dev/null
	umount "$TINTYPE_HOME"
}

@test "create: killed at any time, the next one is whole" {
	disk_vm web
	fill web 7
	for i in 1 2 3 4 5 6 7 8; do
		timeout -s KILL "0.0$i" "$TINTYPE" snapshot create "web@k$i" \
			> /dev/null 2>&1 || true
	done
	until_true snapshot create web@last
	[ "$(heads web)" = 1 ]
	has web 7
	for s in $(snapshot list -q web); do
		run -0 snapshot show "$s"
	done
	run -0 "$TINTYPE" run --detach --from web@last --name w2
	has w2 7
}

@test "create: the VM is killed meanwhile, and its disks are as they were" {
	disk_vm web
	fill web 7
	snapshot create web@a > /dev/null 2>&1 &
	"$TINTYPE" stop --kill web > /dev/null
	wait $! || true
	shell_vm web --disk "$BATS_TEST_TMPDIR/base,id=root"
	until_true log_has web 'tintype> '
	disk_has web 7
	run -0 snapshot create web@b
}

@test "create: two at once are both there, or one is told to wait" {
	disk_vm web
	snapshot create web@a > /dev/null 2>&1 &
	snapshot create web@b > "$BATS_TEST_TMPDIR/b" 2>&1 || [ $? = 4 ]
	wait $! || [ $? = 4 ]
	[ "$(snapshot list -q web | wc -l)" -ge 1 ]
	[ "$(heads web)" = 1 ]
}

@test "from: a copy goes on, and the snapshot stays as it was" {
	disk_vm web
	fill web 7
	run -0 snapshot create web@a
	fill web 8
	for vm in w2 w3; do
		run -0 "$TINTYPE" run --detach --from web@a --name $vm
		has $vm 7
		run ! disk_has $vm 8
		fill $vm 9
	done
	has web 8
}

@test "from: what contradicts the snapshot is refused" {
	disk_vm web
	run -0 snapshot create web@a
	run -2 "$TINTYPE" run --from web@a --memory 64M
	run -2 "$TINTYPE" run --from web@a --cpus 2
	run -2 "$TINTYPE" run --from web@a --kernel /boot/x
	run -2 "$TINTYPE" run --from web@a --rng
	run -2 "$TINTYPE" run --from web@a --disk /x,id=other
	[[ "$output" = *"it has: root"* ]]
	run -2 "$TINTYPE" run --clock advance
	run -3 "$TINTYPE" run --from web@b
	run -0 "$TINTYPE" run --from web@a --memory 32M --cpus 1 --dry-run
}

@test "from: a disk's file must be the same, wherever it is" {
	disk_vm web
	run -0 snapshot create web@a
	"$TINTYPE" stop --kill web > /dev/null
	cp -p "$BATS_TEST_TMPDIR/base" "$BATS_TEST_TMPDIR/moved"
	touch -d 2001-01-01 "$BATS_TEST_TMPDIR/base"
	run -4 "$TINTYPE" run --detach --from web@a --name w2
	[[ "$output" = *"has changed since"*"--disk PATH,id=root"* ]]
	rm "$BATS_TEST_TMPDIR/base"
	run -3 "$TINTYPE" run --detach --from web@a --name w2
	[[ "$output" = *"--disk PATH,id=ID"* ]]
	run -0 "$TINTYPE" ps --all --quiet
	[ "$output" = web ]
	run -0 "$TINTYPE" run --detach --from web@a --name w2 \
		--disk "$BATS_TEST_TMPDIR/moved,id=root"
}

@test "restore: a broken VM goes on where it was" {
	disk_vm web
	fill web 7
	run -0 snapshot create web@a
	fill web 8
	say web "crash panic" > /dev/null
	until_true none_runs
	run -4 snapshot restore web@a
	[[ "$output" = *"--discard"* ]]
	run -0 snapshot restore web@a --discard
	has web 7
}

@test "restore: a VM that runs is saved before" {
	disk_vm web
	fill web 7
	run -0 snapshot create web@a
	fill web 8
	run -0 --separate-stderr snapshot revert web@a
	[ "$output" = web ]
	[[ "$stderr" = *"web@before-restore-"* ]]
	has web 7
	before=$(snapshot list -q web | grep before-restore)
	run -0 "$TINTYPE" run --detach --from "$before" --name w2
	has w2 8
}

# A snapshot web@a, of another VM web than the one that runs, which has 8.
other_lineage() {
	disk_vm web
	fill web 7
	run -0 snapshot create web@a
	"$TINTYPE" stop --kill web > /dev/null
	"$TINTYPE" rm web > /dev/null
	disk_vm web
	fill web 8
	layer=$TINTYPE_HOME/store/layers/$(snapshot show web@a --json |
		json images 0 layer)
}

@test "restore: what a stopped VM has is not lost when it is in a snapshot" {
	disk_vm web
	fill web 7
	run -0 snapshot create web@a
	fill web 8
	run -0 snapshot create web@n --stop
	run -0 snapshot restore web@a
	has web 7
	run -0 snapshot restore web@n
	has web 8
	run -0 snapshot create web@m --stop
	run -0 snapshot delete web@m
	run -4 snapshot restore web@a
	run -0 snapshot restore web@a --discard
}

@test "restore: a VM that was removed comes back" {
	disk_vm web
	fill web 7
	run -0 snapshot create web@a
	"$TINTYPE" stop --kill web > /dev/null
	"$TINTYPE" rm web > /dev/null
	run -0 snapshot restore web@a
	[ "$output" = web ]
	has web 7
}

@test "restore: again and again, each is saved before" {
	disk_vm web
	fill web 7
	run -0 snapshot create web@a
	for i in 1 2 3 4; do
		run -0 snapshot restore web@a
	done
	has web 7
	[ "$(snapshot list -q web | grep -c before-restore)" = 4 ]
	[ "$(heads web)" = 1 ]
}

@test "restore: what is not whole is refused before the VM is touched" {
	other_lineage
	pid=$(pid_of)
	rm "$layer"
	run -6 snapshot restore web@a
	[[ "$output" = *"is not in the store"* ]]
	[ "$(pid_of)" = "$pid" ]
	has web 8
}

@test "restore: one that fails half-way leaves the VM as it was" {
	other_lineage
	# A page of memory, which is read when the VM has ended.
	chmod u+w "$layer"
	python3 - "$layer" <<- 'END'
		import sys
		with open(sys.argv[1], "r+b") as f:
		    f.seek(4096 * 40)
		    f.write(b"another page")
	END
	run -6 snapshot restore web@a
	[[ "$output" = *"it goes on as before"* ]]
	has web 8
}

@test "clone: each has its own name and disks" {
	disk_vm web
	fill web 7
	run -0 snapshot create web@a
	run -0 snapshot clone web@a c --count 2
	[ "$output" = $'c-1\nc-2' ]
	has c-1 7
	fill c-2 9
	has c-1 7
	run -4 snapshot clone web@a c-2
	run -2 snapshot clone web@a c --count 0
	run -2 snapshot clone web@a ../x
	run -0 snapshot clone web@a d --json
	[ "$(json name <<< "$output")" = d ]
}

@test "clone: what it needs stays when all snapshots are deleted" {
	disk_vm web
	fill web 7
	run -0 snapshot create web@a
	run -0 snapshot clone web@a c
	run -0 snapshot delete web@a
	"$TINTYPE" stop --kill web > /dev/null
	"$TINTYPE" rm web > /dev/null
	has c 7
	run -0 snapshot create c@b
	run -0 "$TINTYPE" run --detach --from c@b --name d
	has d 7
}

@test "diff: a snapshot does not differ from itself" {
	disk_vm web
	run -0 snapshot create web@a
	run -0 snapshot diff web@a web@a
	[ "$output" = "the same" ]
	run -3 snapshot diff web@a web@b
}

@test "diff: registers by name, memory and disks by ranges" {
	disk_vm web
	fill web 7
	run -0 snapshot create web@a
	say web "disk 0 write 16 8 9" > /dev/null
	say web "disk 0 flush" > /dev/null
	run -0 snapshot create web@b
	run -1 snapshot diff web@a web@b
	[[ "$output" = *"state: "*"values differ"* ]]
	[[ "$output" = *"memory: "*"pages of 4096 bytes differ"* ]]
	[[ "$output" = *"disk root: 1 pages"* ]]
	run -1 snapshot diff web@a web@b --json
	[ "$(json same <<< "$output")" = False ]
	[ "$(json disks 0 ranges 0 offset <<< "$output")" = 8192 ]
	[ "$(json disks 0 ranges 0 bytes <<< "$output")" = 4096 ]
	[ "$(json memory ranges_cut <<< "$output")" = False ]
	grep -q '"field": "tsc_offset"\|"field": "clock"\|"section": "vcpu' \
		<<< "$output"
}

@test "diff: disks alone have no memory to compare" {
	disk_vm web
	run -0 snapshot create web@a
	run -0 snapshot create web@d --disk-only
	run -1 snapshot diff web@a web@d
	[[ "$output" = *"memory: only in a"* ]]
}

# ---- who a guest is ----

identity() {
	"$TINTYPE" inspect "$1" --json | grep -o 'id=[0-9a-f]\{32\}'
}

@test "identity: a copy has a new one, unless it is to keep it" {
	disk_vm web
	old=$(identity web)
	[ -n "$old" ]
	run -0 snapshot create web@a
	[ "$(identity web)" = "$old" ]
	run -0 snapshot clone web@a c --count 2
	[ "$(identity c-1)" != "$old" ]
	[ "$(identity c-1)" != "$(identity c-2)" ]
	run -0 snapshot clone web@a k --keep-identity
	[ "$(identity k)" = "$old" ]
	run -0 "$TINTYPE" run --detach --from web@a --name w2
	[ "$(identity w2)" != "$old" ]
	run -0 snapshot restore web@a
	[ "$(identity web)" != "$old" ]
	run -0 snapshot restore web@a --keep-identity
	[ "$(identity web)" = "$old" ]
}

@test "identity: stopped and resumed is the same machine, once" {
	disk_vm web
	old=$(identity web)
	run -0 snapshot create web@n --stop
	run -0 snapshot restore web@n
	[ "$(identity web)" = "$old" ]
	run -0 snapshot restore web@n
	[ "$(identity web)" != "$old" ]
	run -0 snapshot create web@m --stop
	run -0 snapshot restore web@m --new-identity
	[ "$(identity web)" != "$old" ]
}

@test "create: Ctrl-C leaves nothing, and the VM runs on" {
	disk_vm web
	fill web 7
	for t in 0.01 0.02 0.03 0.05; do
		timeout -s INT $t "$TINTYPE" snapshot create "web@t$t" \
			> /dev/null 2>&1 || true
	done
	run -0 snapshot create web@b
	[ "$(heads web)" = 1 ]
	has web 7
}

@test "clone: a card on a tap must be given another network" {
	make_store() {
		"$MKSNAPSHOT" "$TINTYPE_HOME" web@a 3 - disks "CONFIG=$1" > /dev/null
	}
	mkdir -m 700 "$TINTYPE_HOME"
	truncate -s 1M "$BATS_TEST_TMPDIR/main"
	make_store "{\"disk\":[\"$BATS_TEST_TMPDIR/main,id=main\"],
		\"memory\":\"32M\",\"net\":[\"tap=nosuch0\"]}"
	run -2 snapshot clone web@a c
	[[ "$output" = *"card net0: is on tap=nosuch0"*"--net tap=IF"* ]]
	run -2 snapshot clone web@a c --net passt,id=other
	[[ "$output" = *"no such card"* ]]
	run -0 snapshot clone web@a c --net none
	run -0 "$TINTYPE" inspect c
	[[ "$output" = *"unplugged"* ]]
}

@test "clone: an unplugged card is there, and its link is down" {
	shell_vm web --net unplugged,id=lan,mtu=1400
	until_true log_has web 'tintype> '
	before=$(say web "net show" | grep '^net: ')
	[[ "$before" = *"link down, MTU 1400"* ]]
	run -0 snapshot create web@a
	run -0 snapshot clone web@a c
	[ "$(say c "net show" | grep '^net: ')" = "$before" ]
}
