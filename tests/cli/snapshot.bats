#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Snapshots in the store: listed, shown, deleted; and what may not be.

load helper

setup() {
	bats_require_minimum_version 1.5.0
	export TINTYPE_HOME="$BATS_TEST_TMPDIR/home"
	mkdir -m 700 "$TINTYPE_HOME"
}

snapshot() {
	"$TINTYPE" snapshot "$@"
}

# make VM@NAME PAGE PARENT|- [WORD...]: prints the id.
make() {
	"$MKSNAPSHOT" "$TINTYPE_HOME" "$@"
}

store() {
	ls -A "$TINTYPE_HOME/store/$1"
}

stored() {
	store "$1" | wc -l
}

# flip FILE OFFSET: one byte becomes another.
flip() {
	chmod u+w "$1"
	python3 - "$1" "$2" <<- 'END'
		import sys
		with open(sys.argv[1], "r+b") as f:
		    f.seek(int(sys.argv[2]))
		    b = f.read(1)[0]
		    f.seek(int(sys.argv[2]))
		    f.write(bytes([b ^ 0x10]))
	END
}

# json KEY...: of the document on stdin, as Python indexes it.
json() {
	python3 -c 'import json, sys
d = json.load(sys.stdin)
for key in sys.argv[1:]:
    d = d[int(key) if key.isdigit() else key]
print(d)' "$@"
}

# A dead VM's directory, with what a capture leaves there.
dead_vm() {
	mkdir -m 700 -p "$TINTYPE_HOME/vms/$1"
	printf '%s' "$2" > "$TINTYPE_HOME/vms/$1/roots.json"
	: > "$TINTYPE_HOME/vms/$1/lock"
	chmod -R go= "$TINTYPE_HOME/vms"
}

@test "list: nothing without a store, a header for people" {
	run -0 snapshot list
	[[ "${lines[0]}" == NAME* ]]
	[ "${#lines[@]}" = 1 ]
	run -0 snapshot ls --json
	[ "$output" = "[]" ]
	run -0 snapshot list --quiet
	[ "$output" = "" ]
}

@test "list: by VM, then by time" {
	make web@zero 1 - > /dev/null
	make db@one 1 - > /dev/null
	make web@also 2 web@zero 'DESCRIPTION=before the
update' > /dev/null
	run -0 snapshot list --quiet
	[ "$output" = $'db@one\nweb@zero\nweb@also' ]
	run -0 snapshot list web
	[ "${#lines[@]}" = 3 ]
	[[ "${lines[2]}" =~ ^web@also\ .*\ memory\ .*\ before\ the$ ]]
	run -0 snapshot list --json web
	[ "$(json 0 name <<< "$output")" = web@zero ]
	[ "$(json 1 parent <<< "$output")" = "$(json 0 id <<< "$output")" ]
	[ "$(json 1 memory <<< "$output")" = True ]
}

@test "list --tree: each below its parent" {
	make web@a 1 - > /dev/null
	make web@b 2 web@a > /dev/null
	make web@c 3 web@a > /dev/null
	make web@d 4 web@b > /dev/null
	run -0 snapshot list --tree
	[[ "${lines[1]}" == "web@a "* ]]
	[[ "${lines[2]}" == "  web@b "* ]]
	[[ "${lines[3]}" == "    web@d "* ]]
	[[ "${lines[4]}" == "  web@c "* ]]
	# One whose parent is gone has none above it.
	snapshot delete web@b
	run -0 snapshot list --tree
	[[ "${lines[1]}" == "web@a "* ]]
	[[ "${lines[2]}" == "  web@c "* ]]
	[[ "${lines[3]}" == "web@d "* ]]
}

@test "list --tree: a long chain stays readable, and goes in one" {
	parent=-
	for n in $(seq 30); do
		make "web@s$n" "$n" "$parent" > /dev/null
		parent=web@s$n
	done
	run -0 snapshot list --tree
	[[ "${lines[12]}" == "$(printf '%22s' '')web@s12 "* ]]
	[[ "${lines[30]}" == "$(printf '%24s' '')web@s30 "* ]]
	run -0 snapshot delete --children web@s1
	[ "${lines[0]}" = web@s30 ]
	[ "${lines[29]}" = web@s1 ]
	[ "$(stored layers)" = 0 ]
}

@test "list: a VM without snapshots is not a name that nothing has" {
	run --separate-stderr -3 snapshot list nobody
	[[ "$stderr" == *nobody* ]]
	dead_vm web '{"v":1, "parents":[]}'
	run -0 snapshot list --quiet web
	[ "$output" = "" ]
}

@test "list: a damaged one is listed, told of, and hides no other" {
	make web@good 1 - > /dev/null
	make web@bad 1 - > /dev/null
	flip "$TINTYPE_HOME/store/refs/web@bad" 30
	run --separate-stderr -6 snapshot list
	[[ "$output" == *web@good* ]]
	[[ "$output" == *web@bad*damaged* ]]
	[[ "$stderr" == *web@bad* ]]
	run --separate-stderr -6 snapshot list --json
	[ "$(json 0 damaged <<< "$output")" = True ]
	[ "$(json 1 name <<< "$output")" = web@good ]
}

@test "list: what steers a terminal is not printed" {
	mkdir -m 700 -p "$TINTYPE_HOME/store/refs"
	make web@one 1 - > /dev/null
	: > "$TINTYPE_HOME/store/refs/$(printf 'a\033[2Jb')"
	run -6 snapshot list
	[[ "$output" != *$'\033'* ]]
	run -6 snapshot list --json
	[[ "$output" != *$'\033'* ]]
}

@test "show: manifest, images, sizes, figures, description, labels" {
	make web@a 1 - > /dev/null
	id=$(make web@b 2 web@a 'DESCRIPTION=words' stage=test 'CONFIG={"memory": 5}')
	run -0 snapshot show web@b
	[[ "$output" == *"id: $id"* ]]
	[[ "$output" == *"description: words"* ]]
	[[ "$output" == *"stage: test"* ]]
	[[ "$output" == *"pause_ns: 1500000"* ]]
	[[ "$output" == *"kind: state"* ]]
	[[ "$output" != *config* ]]
	[[ "$output" != *held_until* ]]
	run -0 snapshot inspect --json web@b
	[ "$(json layers <<< "$output")" = 2 ]
	[ "$(json images 0 bytes <<< "$output")" = 1048576 ]
	[ "$(json images 1 root <<< "$output")" = 1 ]
	[ "$(json config memory <<< "$output")" = 5 ]
	[ "$(json labels stage <<< "$output")" = test ]
	[ "$(json stored_bytes <<< "$output")" -gt 0 ]
	[ "$(json layers_bytes <<< "$output")" -gt "$(json stored_bytes <<< "$output")" ]
}

@test "show: by the first digits of an id" {
	id=$(make web@a 1 -)
	other=$(make web@b 1 -)
	run -0 snapshot show --json "${id:0:12}"
	[ "$(json name <<< "$output")" = web@a ]
	run -0 snapshot show --json "$other"
	[ "$(json name <<< "$output")" = web@b ]
	run -3 snapshot show "${id:0:3}"
	run -3 snapshot show ffffffffffff
	run --separate-stderr -3 snapshot show "${id:0:12}0000"
	[[ "$stderr" == *"no such snapshot"* ]]
}

@test "show: a wrong name says what there is" {
	make web@one 1 - > /dev/null
	make web@two 1 - > /dev/null
	run --separate-stderr -3 snapshot show web@three
	[[ "$stderr" == *"it has: one, two"* ]]
	run --separate-stderr -3 snapshot show web
	[[ "$stderr" == *"it has: one, two"* ]]
	run --separate-stderr -3 snapshot show nobody@x
	[[ "$stderr" == *"none of this VM"* ]]
	run -2 snapshot show web@../x
	run -2 snapshot show a@b@c
	run -2 snapshot show @x
	rm -r "$TINTYPE_HOME/store"
	run --separate-stderr -3 snapshot show web@one
	[[ "$stderr" == *"no such snapshot"* ]]
}

@test "show: a missing layer is named, the rest is shown" {
	make web@a 1 - > /dev/null
	rm "$TINTYPE_HOME/store/layers/"*
	run --separate-stderr -6 snapshot show --json web@a
	[ "$(json name <<< "$output")" = web@a ]
	[[ "$stderr" == *"not in the store"* ]]
}

@test "delete: what only it needs goes, what others need stays" {
	make web@a 1 - > /dev/null
	make web@b 2 web@a > /dev/null
	make web@c 1 - > /dev/null
	run -0 snapshot delete web@a
	[ "$output" = web@a ]
	# b has a page of a's layer.
	[ "$(stored layers)" = 3 ]
	[ "$(stored manifests)" = 2 ]
	run -0 snapshot show web@b
	run -0 snapshot rm --json web@b web@c
	[ "$(json deleted 1 <<< "$output")" = web@c ]
	[ "$(json collected layers <<< "$output")" = 3 ]
	[ "$(json collected bytes <<< "$output")" -gt 0 ]
	[ "$(stored layers)$(stored manifests)$(stored refs)" = 000 ]
}

@test "delete --children: those after it too, of the same VM" {
	make web@a 1 - > /dev/null
	make web@b 2 web@a > /dev/null
	make web@c 3 web@b > /dev/null
	make web@d 4 - > /dev/null
	make clone@x 4 web@b > /dev/null
	run -0 snapshot delete --children web@b
	[ "$output" = $'web@c\nweb@b' ]
	run -0 snapshot list --quiet
	[ "$output" = $'clone@x\nweb@a\nweb@d' ]
	run -0 snapshot show clone@x
}

@test "delete --children: one that is refused keeps its parents" {
	make web@a 1 - > /dev/null
	make web@b 2 web@a > /dev/null
	make web@c 3 web@b pinned > /dev/null
	run --separate-stderr -10 snapshot delete --children web@a
	[[ "$stderr" == *web@c*pinned* ]]
	run -0 snapshot list --quiet
	[ "$output" = $'web@a\nweb@b\nweb@c' ]
}

@test "delete: pinned, held and immutable ones are refused" {
	for word in pinned held immutable; do
		make "web@$word" 1 - "$word" > /dev/null
		run --separate-stderr -10 snapshot delete "web@$word"
		[[ "$stderr" == *"web@$word"*"$word"* ]]
	done
	[ "$(stored refs)" = 3 ]
	[ "$(stored layers)" = 3 ]
}

@test "delete: one failure does not keep the others" {
	make web@a 1 - > /dev/null
	make web@b 1 - > /dev/null
	run --separate-stderr -3 snapshot delete web@a web@none web@b
	[ "$output" = $'web@a\nweb@b' ]
	[[ "$stderr" == *web@none* ]]
	[ "$(stored layers)" = 0 ]
}

@test "delete: what a VM was last equal to stays until it is removed" {
	id=$(make web@a 1 -)
	make web@b 1 - > /dev/null
	dead_vm web "{\"v\":1, \"parents\":[\"$id\"]}"
	run -0 snapshot delete --quiet web@a web@b
	[ "$output" = "" ]
	[ "$(store manifests)" = "$id" ]
	[ "$(stored layers)" = 1 ]
	# The VM goes, its snapshots stay; with the next deletion the rest goes.
	make web@c 1 - > /dev/null
	"$TINTYPE" rm web
	run -0 snapshot show web@c
	[ "$(stored manifests)" = 2 ]
	run -0 snapshot delete web@c
	[ "$(stored manifests)$(stored layers)" = 00 ]
}

@test "delete: roots.json that cannot be read keeps everything" {
	for text in '' '{' '{"v":1}' '{"v":1, "parents":["xyz"]}' '[]'; do
		make web@a 1 - > /dev/null
		dead_vm web "$text"
		layers=$(stored layers)
		run --separate-stderr -0 snapshot delete web@a
		[[ "$stderr" == *"later deletion"*web* ]]
		[ "$(stored layers)" = "$layers" ]
		[ "$(stored refs)" = 0 ]
	done
	rm -r "$TINTYPE_HOME/vms"
	make web@a 1 - > /dev/null
	run -0 snapshot delete web@a
	[ "$(stored layers)" = 0 ]
}

@test "delete: damage elsewhere keeps everything, and is said" {
	make web@a 1 - > /dev/null
	make web@b 1 - > /dev/null
	bad=$(make web@bad 1 -)
	flip "$TINTYPE_HOME/store/manifests/$bad" 60
	run --separate-stderr -0 snapshot delete web@a
	[[ "$stderr" == *"${bad:0:12}"* ]]
	[ "$(stored layers)" = 3 ]
	# The damaged one can be deleted, and so all is well again.
	run -0 snapshot delete web@bad
	[ "$(stored layers)" = 1 ]
	run -0 snapshot show web@b
}

@test "delete: a damaged ref is not deleted" {
	make web@a 1 - > /dev/null
	flip "$TINTYPE_HOME/store/refs/web@a" 30
	run --separate-stderr -6 snapshot delete web@a
	[[ "$stderr" == *web@a* ]]
	[ "$(stored layers)" = 1 ]
}

@test "delete: while a capture links, it waits; what that linked stays" {
	make web@a 1 - > /dev/null
	python3 - "$TINTYPE_HOME/store/lock" "$TINTYPE" <<- 'END'
		import fcntl, os, struct, subprocess, sys
		f = os.open(sys.argv[1], os.O_RDWR)
		F_OFD_SETLK = 37
		def lock(how):
		    fcntl.fcntl(f, F_OFD_SETLK,
		                struct.pack("hhqqi4x", how, os.SEEK_SET, 0, 1, 0))
		lock(fcntl.F_RDLCK)
		p = subprocess.Popen([sys.argv[2], "snapshot", "delete", "web@a"])
		# Its name goes at once: the collection waits for us.
		refs = os.path.dirname(sys.argv[1]) + "/refs/web@a"
		while os.path.exists(refs):
		    pass
		layers = os.path.dirname(sys.argv[1]) + "/layers"
		assert len(os.listdir(layers)) == 1
		assert p.poll() is None
		lock(fcntl.F_UNLCK)
		assert p.wait() == 0
		assert len(os.listdir(layers)) == 0
	END
}

# One of several who take and delete snapshots at once, and are killed at any
# moment.
worker() {
	local i
	for i in $(seq 12); do
		timeout -s KILL "0.0$((RANDOM % 4 + 1))" "$MKSNAPSHOT" \
			"$TINTYPE_HOME" "vm$1@s$i" "$i" - || true
		timeout -s KILL "0.0$((RANDOM % 4 + 1))" "$TINTYPE" \
			snapshot delete "vm$1@s$((i - 1))" || true
	done > /dev/null 2>&1
}

@test "many at once, killed at any moment: what is there is whole" {
	make web@stays 1 - > /dev/null
	for n in 1 2 3 4; do
		worker "$n" &
	done
	wait
	run -0 snapshot list --quiet
	[[ "$output" == *web@stays* ]]
	all=$output
	for name in $all; do
		run -0 snapshot show "$name"
	done
	run -0 snapshot delete $all
	[ "$(stored refs)$(stored manifests)$(stored layers)" = 000 ]
}

@test "a store that others could write is refused" {
	make web@a 1 - > /dev/null
	chmod 770 "$TINTYPE_HOME/store/refs"
	run --separate-stderr -10 snapshot list
	[[ "$stderr" == *"store/refs"* ]]
}

@test "words that other programs have" {
	run -2 snapshot
	run -2 snapshot frobnicate
	run -0 "$TINTYPE" help snapshot
	[[ "$output" == *"delete snapshots"* ]]
	run -0 "$TINTYPE" completion bash
	[[ "$output" == *"snapshot list --quiet"* ]]
	run -0 snapshot remove --help
	[[ "$output" == *--children* ]]
}
