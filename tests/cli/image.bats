#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The library of images: raw files in, raw files out, and what is wrong is named.

load helper

setup() {
	bats_require_minimum_version 1.5.0
	export TINTYPE_HOME="$BATS_TEST_TMPDIR/home"
	umask 022
	cd "$BATS_TEST_TMPDIR"
}

teardown() {
	if [ -n "$mounted" ]; then
		umount "$mounted"
	fi
}

image() {
	"$TINTYPE" image "$@"
}

# random FILE BYTES
random() {
	head -c "$2" /dev/urandom > "$1"
}

# poke FILE OFFSET: one byte becomes another.
poke() {
	local byte
	chmod u+w "$1"
	byte=$(dd if="$1" bs=1 skip=$(($2)) count=1 status=none | od -An -tu1)
	printf "\\$(printf %03o $(((byte + 1) % 256)))" |
		dd of="$1" bs=1 seek=$(($2)) conv=notrunc status=none
}

new_key() {
	(umask 077 && head -c 32 /dev/urandom > "$1")
}

# field FILE KEY: a number of `image info`.
field() {
	image info --json "$1" | tr -d ' ,' | sed -n "s/^\"$2\"://p"
}

only_files() {
	[ "$(ls -A | tr '\n' ' ')" = "$* " ]
}

# Runs a verb in its own session, where Ctrl-C is not ignored as it is in the
# background of a script, and signals it when it has opened $1.
signal_when_open() {
	local file=$1 sig=$2
	shift 2
	python3 - "$file" "$sig" "$@" <<- 'END'
		import os, signal, subprocess, sys, time
		name, sig, words = sys.argv[1], sys.argv[2], sys.argv[3:]
		p = subprocess.Popen(words, stderr=subprocess.DEVNULL,
		    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
		def opened():
		    try:
		        fds = os.listdir("/proc/%d/fd" % p.pid)
		        return any(os.readlink("/proc/%d/fd/%s" % (p.pid, f))
		            .endswith(name) for f in fds)
		    except OSError:
		        return False
		while p.poll() is None and not opened():
		    time.sleep(0.001)
		p.send_signal(getattr(signal, "SIG" + sig))
		code = p.wait()
		sys.exit(code if code >= 0 else 128 - code)
	END
}

@test "image: raw to image to raw is the same, whatever the size" {
	for size in 512 1536 4096 4608 1048576 1049088 3000320; do
		random raw $size
		image create raw i.img > id
		[ "$(wc -c < id)" = 65 ]
		image export i.img out
		cmp raw out
		run -0 image compare raw i.img
		[ "$output" = "the same" ]
		run -0 image check --data i.img
		[ "$output" = "i.img: whole" ]
		run -0 image check i.img
		[ "$output" = "i.img: whole (data not read: --data)" ]
		rm -f i.img out
	done
}

@test "image: every way to store gives the same bytes" {
	new_key key
	random raw 2000384
	yes text | head -c 100000 | dd of=raw conv=notrunc status=none
	for how in "" "--compress" "--encrypt -k key" "--compress --encrypt -k key"; do
		image create raw i.img $how
		image export i.img -k key out
		cmp raw out
		image compare -k key i.img raw
		image export -k key i.img - | cmp - raw
		rm -f i.img out
	done
}

@test "image: a chain of 5 has each disk, and stores only what differs" {
	random r1 4194304
	image create r1 i1
	for n in 2 3 4 5; do
		cp r$((n - 1)) r$n
		printf x | dd of=r$n bs=1 seek=$((n * 500000)) conv=notrunc status=none
		truncate -s $((4194304 + n * 512)) r$n
		printf y | dd of=r$n bs=1 seek=$((4194303 + n * 512)) conv=notrunc status=none
		image create r$n i$n --parent i$((n - 1)) > /dev/null
		[ "$(field i$n file_bytes)" -lt 30000 ]
	done
	for n in 1 2 3 4 5; do
		image export i$n out
		cmp r$n out
		rm out
	done
	run -0 image check --data i1 i2 i3 i4 i5
	[ "${#lines[@]}" = 5 ]
	run -1 image compare i4 i5
	[[ ${lines[0]} == "different: from byte 2500000 "*", in 2 pages of 4096 bytes" ]]
	[[ ${lines[1]} == "different sizes: "* ]]
}

@test "image: names are free, the full id is one" {
	random r1 8192
	cp r1 r2
	poke r2 5000
	id=$(image create r1 'any name')
	image create r2 i2 --parent 'any name'
	image compare i2 r2
	mv 'any name' "$id"
	image compare i2 r2
	run -0 image info i2
	[ "${lines[0]}" = "size: 8192 (8K)" ]
	[ "${lines[1]}" = "parent: $id" ]
	[[ $output != *"version"* ]]
	mkdir sub
	mv "$id" sub
	run -0 image info --json i2
	[[ $output == *'"found": false'* ]]
	run -0 image info i2
	[ "${lines[1]}" = "parent: $id (not there)" ]
	# Only a file that is there itself: links lead elsewhere.
	ln -s sub/"$id" "$id"
	for verb in "check" "compare r2" "export - "; do
		set -- $verb
		run -6 image "$1" i2 ${2:+"$2"}
		[[ $output == "tintype: i2: needs layer ${id:0:12}, which is not there: put it beside this one" ]]
	done
}

@test "image create: sparse files cost nothing and stay sparse" {
	truncate -s 1T raw
	printf data | dd of=raw bs=1 seek=500000000000 conv=notrunc status=none
	[ "$(stat -c %b raw)" -lt 64 ] || skip "this file system has no holes"
	SECONDS=0
	image create raw i.img
	[ "$(stat -c %s i.img)" -lt 20000 ]
	image export i.img out
	[ "$(stat -c %s out)" = "$(stat -c %s raw)" ]
	[ "$(stat -c %b out)" -lt 64 ]
	image compare raw i.img
	image compare raw out
	cp --sparse=always raw r2
	image create raw i2.img --parent i.img
	image compare i.img i2.img
	[ "$SECONDS" -lt 20 ]
}

@test "image create: zeroes over a parent's data are zero" {
	random r1 1048576
	image create r1 i1
	truncate -s 0 r1
	truncate -s 1M r1
	image create r1 i2 --parent i1
	image compare r1 i2
	[ "$(field i2 data_pages)" = 0 ]
}

@test "image create: refuses what is no disk, and says what to do" {
	random raw 1000
	run -2 image create raw i.img
	[ "$output" = "tintype: raw: 1000 bytes are no multiple of 512: let it end in zeroes: truncate -s %512 FILE" ]
	: > raw
	run -2 image create raw i.img
	[ "$output" = "tintype: raw: is empty: give a disk of at least 512 bytes" ]
	mkdir dir
	run -2 image create dir i.img
	[[ $output == "tintype: dir: is a directory: "* ]]
	mkfifo pipe
	run -2 image create pipe i.img
	run -3 image create none i.img
	[ "$output" = "tintype: none: open: No such file or directory" ]
	run -3 image create none 10G
	[[ $output == "tintype: none: is not there: for a new disk: truncate -s SIZE FILE, "* ]]
	run -2 image create /dev/null i.img
	[ "$output" = "tintype: /dev/null: is neither a file nor a block device: give the file of a disk" ]
	run -2 image create raw
	[ "$output" = "tintype: image create: operand missing: IMAGE: see 'tintype help image create'" ]
	run -2 image create
	[[ $output == *": operand missing: RAW IMAGE: "* ]]
	random raw 512
	run -3 image create raw none/i.img
	[ "$output" = "tintype: none/i.img: the directory is not there: make it first" ]
	run -1 image create raw dir/
	run -4 image create raw pipe
	[ "$output" = "tintype: pipe: exists: give another name, or remove it first" ]
	ln -s nowhere link
	run -4 image create raw link
	run -2 image create raw i.img --encrypt
	run -2 image create raw i.img --progress loud
	run -2 image create raw -
	[[ $output == "tintype: image create: -: an image cannot go to standard output: "* ]]
	run -2 image create - i.img
	[[ $output == "tintype: image create: -: standard input is not supported: "* ]]
	only_files dir link pipe raw
}

@test "image create: refuses other formats, unless told that they are raw" {
	qcow2='QFI\373' vmdk=KDMV text='# Disk DescriptorFile' vdi='<<< ' vhdx=vhdxfile
	for magic in "$qcow2" "$vmdk" "$text" "$vdi" "$vhdx" conectix; do
		for size in 200000 5120; do
			printf "$magic" > raw
			truncate -s $size raw
			run -2 image create raw i.img
			[[ $output == "tintype: raw: looks like "*": qemu-img convert -O raw "* ]]
		done
		image create -f raw raw i.img
		image export i.img out
		cmp raw out
		rm -f i.img out
	done
	# The footer alone.
	random raw 5120
	printf conectix | dd of=raw bs=1 seek=4608 conv=notrunc status=none
	run -2 image create raw i.img
	[[ $output == "tintype: raw: looks like VHD, "* ]]
	run -2 image create raw i.img --format qcow2
	only_files raw
}

@test "image create: refuses parents that cannot be one" {
	random raw 4096
	random large 8192
	image create large l.img
	run -2 image create raw i.img --parent l.img
	[[ $output == "tintype: l.img: has 8192 bytes, more than the 4096 of raw: "* ]]
	run -6 image create raw i.img --parent large
	[ "$output" = "tintype: large: is no layer (wrong magic at 0x0): import a raw disk by 'tintype image create'" ]
	run -3 image create raw i.img --parent none
	"$MKHEAD" head 4096 -
	run -5 image create raw i.img --parent head
	mkdir sub
	run -2 image create large sub/i.img --parent l.img
	[ "$output" = "tintype: l.img: is not in the directory of sub/i.img, which would need it there: put it into sub/, or the image beside it" ]
	ln -s ../l.img sub/link
	(cd sub && run -2 image create ../large i.img --parent link)
	rm sub/link
	[ -z "$(ls -A sub)" ]
	# A copy under another name is as good.
	cp l.img sub/copy
	image create large sub/i.img --parent l.img
	image compare sub/i.img large
	only_files head l.img large raw sub
}

@test "image create: does not change the raw file, nor take its first bytes for more" {
	random r 8192
	image create r raw
	chmod 600 raw
	truncate -s %512 raw
	chmod 400 raw
	cp -p raw before
	run -2 image create raw i.img
	[[ $output == "tintype: raw: is already an image: "* ]]
	image create raw i.img --format raw
	cmp raw before
	[ "$(stat -c '%a %Y' raw)" = "$(stat -c '%a %Y' before)" ]
	image export i.img out
	cmp raw out
	[ "$(stat -c %a i.img)" = 444 ]
}

@test "image: without permission is 10" {
	needs_root
	random raw 512
	image create raw i.img
	mkdir own
	chmod 600 raw i.img
	chmod 755 . own
	as() {
		setpriv --reuid 65534 --regid 65534 --clear-groups "$TINTYPE" image "$@"
	}
	as info none > /dev/null 2>&1 || [ $? = 3 ] ||
		skip "another user cannot reach the program"
	run -10 as create raw own/i.img
	[ "$output" = "tintype: raw: open: Permission denied" ]
	run -10 as export i.img own/out
	chmod 644 raw
	run -10 as create raw own/i.img
	[ "$output" = "tintype: own/i.img: create: Permission denied" ]
	only_files i.img own raw
	# What it needs is there, and cannot be read: by any name, by its id.
	cp raw raw2
	poke raw2 100
	chmod 644 raw2
	image create raw2 i2 --parent i.img
	"$MKHEAD" head 512 i.img
	chmod 644 head
	id=$(field i.img id | tr -d '"')
	missing="layer ${id:0:12}, which is not there, or is i.img: Permission denied: make that file readable"
	for verb in "check i2" "compare i2 raw2" "export i2 -"; do
		run -10 as $verb
		[ "$output" = "tintype: i2: needs $missing" ]
	done
	run -10 as check head
	[ "$output" = "tintype: head: lies on $missing" ]
	mv i.img "$id"
	run -10 as check i2
	[[ $output == "tintype: $id: open: Permission denied"* ]]
}

@test "image: a full file system is 8, and leaves nothing" {
	needs_root
	mkdir small
	mount -t tmpfs -o size=1m none small 2> /dev/null ||
		skip "nothing can be mounted here"
	mounted=$BATS_TEST_TMPDIR/small
	random raw 2097152
	run -8 image create raw small/i.img
	[ "$output" = "tintype: small/i.img: write: No space left on device" ]
	image create raw i.img
	run -8 image export i.img small/out
	[ "$output" = "tintype: small/out: write: No space left on device" ]
	[ -z "$(ls -A small)" ]
	[ "$(stat -f -c '%f' small)" = "$(stat -f -c '%b' small)" ]
}

@test "image: a limit on the size of files is 8" {
	random raw 2097152
	image create raw i.img
	run -8 bash -c 'ulimit -f 100; "$TINTYPE" image export i.img out'
	only_files i.img raw
}

@test "image: truncated anywhere is 6, and the file is named" {
	random raw 100352
	image create raw i.img
	size=$(stat -c %s i.img)
	for keep in 8 511 512 4096 5000 50000 $((size - 512)) $((size - 1)); do
		head -c "$keep" i.img > cut
		for verb in "info cut" "check cut" "export cut out"; do
			run -6 image $verb
			[[ $output == "tintype: cut: "* ]]
			[[ $output == *0x* ]]
		done
	done
	[ ! -e out ]
}

@test "image: a flipped bit is 6, with file and offset" {
	random raw 100352
	image create raw good
	size=$(stat -c %s good)
	# Magic and header, a page of data, metadata, table, trailer.
	for at in 3 20 500 $((size - 600)) $((size - 500)) $((size - 10)); do
		cp good bad
		poke bad "$at"
		run -6 image check bad
		[[ $output == "tintype: bad: "* ]]
	done
	cp good bad
	poke bad 8192
	image check bad
	run -6 image check --data bad
	[ "$output" = "tintype: bad: damaged at 0x2000: page 2: wrong sum: restore it from a copy" ]
	run -6 image export bad out
	[[ $output == *"bad: damaged at 0x2000: "* ]]
	[ ! -e out ]
	run -6 image compare bad raw
	poke bad 20480
	run -6 image check --data bad
	[ "${#lines[@]}" = 2 ]
	run -6 --separate-stderr image check --data --json bad good
	[[ $output == *'"message": "damaged at 0x5000: page 5: wrong sum"'* ]]
	[[ $output == *'"whole": true'* ]]
}

@test "image check: a copy is judged by itself" {
	random raw 100352
	image create raw good
	mkdir sub
	cp good bad
	cp good sub/base
	poke bad 8192
	poke sub/base 8192
	cp raw raw2
	poke raw2 50000
	image create raw2 top --parent good
	cp top sub
	run -6 --separate-stderr image check --data good bad
	[ "$output" = "good: whole" ]
	run -6 --separate-stderr image check --data bad good
	[ "$output" = "good: whole" ]
	rm bad
	run -6 --separate-stderr image check --data top sub/top ./top
	[ "$output" = "$(printf 'top: whole\n./top: whole')" ]
	[[ $stderr == "tintype: sub/base: damaged at 0x2000: "* ]]
	run -6 image compare good sub/base
	run -6 image compare sub/base good
	run -6 image compare top sub/top
	# What is shared is one file's, and not read.
	poke good 40960
	run -1 image compare top good
	[[ $output == *"in 1 page of 4096 bytes" ]]
}

@test "image check: goes on after damage, and names the layer that has it" {
	random r1 100352
	cp r1 r2
	poke r2 9000
	image create r1 base
	image create r2 top --parent base
	image create r2 other
	poke base 40960
	run -6 --separate-stderr image check --data top none other raw
	[ "$output" = "other: whole" ]
	[ "${#stderr_lines[@]}" = 4 ]
	[[ $stderr == "tintype: base: damaged at 0xa000: "* ]]
	[ "${stderr_lines[1]}" = "tintype: top: not whole: needs base" ]
	# A base that cannot even be opened.
	cp base saved
	rm -f base
	head -c 50000 saved > "$(field saved id | tr -d '"')"
	rm saved
	run -6 --separate-stderr image check top other
	[ "$output" = "other: whole (data not read: --data)" ]
	[[ $stderr == *"damaged"*"needs layer"* ]]
}

@test "image: the wrong key, no key and a careless one" {
	new_key key
	new_key wrong
	random r1 100352
	cp r1 r2
	poke r2 9000
	image create r1 i1 --encrypt -k key > /dev/null
	image create r2 i2 --compress --encrypt -k key --parent i1 > /dev/null
	image compare -k key i2 r2
	for verb in info check "export out"; do
		set -- $verb
		run -10 image "$1" -k wrong i2 $2
		[[ $output == "tintype: i2: wrong key, or damaged at 0x"*": chunk "*": wrong check: give its own key, "* ]]
	done
	# With the right key, it is damage.
	cp i1 bad
	poke bad 4096
	run -6 image check -k key --data bad
	[[ $output == "tintype: bad: damaged at 0x1000: chunk 0: wrong check: restore it from a copy" ]]
	rm -f bad
	run -10 image export i2 out
	[[ $output == "tintype: i2: is encrypted: "*"--key-file" ]]
	run -0 --separate-stderr image info i2
	[[ $output == *"encrypted: yes"* ]]
	[[ $output != *"size: "* ]]
	[[ $stderr == *"--key-file"* ]]
	run -0 image info -k key i2
	[[ $output == "size: 100352 (98K)"*"parent: i1"* ]]
	chmod 604 key
	run -10 image export -k key i2 out
	[[ $output == "tintype: key: a key that all users can read or write: "* ]]
	chmod 600 key
	echo >> key
	run -2 image export -k key i2 out
	run -3 image export -k none i2 out
	[ ! -e out ]
}

@test "image: the same disk twice under one key has no bytes in common" {
	new_key key
	truncate -s 1M raw
	yes | dd of=raw bs=65536 count=1 conv=notrunc iflag=fullblock status=none
	image create raw i1 --encrypt -k key
	image create raw i2 --encrypt -k key
	run cmp <(dd if=i1 bs=4096 skip=1 count=16 status=none) \
		<(dd if=i2 bs=4096 skip=1 count=16 status=none)
	[ "$status" = 1 ]
	same=$(cmp -l <(dd if=i1 bs=4096 skip=1 count=16 status=none) \
		<(dd if=i2 bs=4096 skip=1 count=16 status=none) | wc -l)
	[ "$same" -gt 60000 ]
}

@test "image create: stores nothing readable by accident" {
	new_key key
	random r1 8192
	cp r1 r2
	poke r2 5000
	run -2 image create r1 i1 -k key
	[ "$output" = "tintype: image create: --key-file: nothing is encrypted by it: add --encrypt, or leave it out" ]
	run -2 image create r1 i1 -k key --encrypt --plain
	image create r1 i0
	run -2 image create r2 i1 -k key --parent i0
	[[ $output == *"nothing is encrypted by it"* ]]
	image create r1 i1 -k key --encrypt
	run -10 image create r2 i2 --parent i1
	run -2 image create r2 i2 -k key --parent i1
	[ "$output" = "tintype: i2: is not encrypted, and its parent is: add --encrypt, or --plain to store it readable" ]
	only_files i0 i1 key r1 r2
	image create r2 i2 -k key --parent i1 --plain
	image compare -k key i2 r2
	# What is below the parent counts too.
	run -2 image create r1 i3 -k key --parent i2
	image create r1 i3 -k key --parent i2 --encrypt
	image compare -k key i3 r1
}

@test "image create: Ctrl-C, SIGTERM and SIGKILL leave nothing" {
	command -v python3 > /dev/null || skip "python3 is not installed"
	random raw 314572800
	for sig in INT TERM KILL; do
		code=9
		[ $sig = KILL ] && code=137
		run -$code signal_when_open raw $sig "$TINTYPE" image create raw i.img --compress
		only_files raw
	done
}

@test "image export: Ctrl-C leaves nothing" {
	command -v python3 > /dev/null || skip "python3 is not installed"
	random raw 314572800
	image create raw i.img
	rm raw
	run -9 signal_when_open i.img INT "$TINTYPE" image export i.img out
	only_files i.img
}

@test "image: progress is told after a second, as asked" {
	mkfifo gate
	random raw 20971520
	image create raw i.img
	for mode in plain json none auto; do
		# The reader makes it last; what it says is on stderr.
		image export --progress $mode i.img - 2> said |
			(sleep 1.2; cat > /dev/null)
		case $mode in
		plain) grep -q '^tintype: i.img: [0-9]* % of 20M$' said ;;
		json) grep -q '^{"done":[0-9]*,"of":20971520}$' said ;;
		*) [ ! -s said ] ;;
		esac
	done
}

@test "image create: a raw file that changes meanwhile is refused" {
	random raw 209715200
	touch -r raw time
	"$TINTYPE" image create raw i.img --compress > out 2>&1 &
	reads_or_ended() {
		ls -l /proc/$!/fd 2> /dev/null | grep -q 'raw$' ||
			! kill -0 $! 2> /dev/null
	}
	until_true reads_or_ended
	printf x | dd of=raw conv=notrunc status=none
	touch -r time raw # which hides it from who looks at that only
	code=0
	wait $! || code=$?
	[ "$code" = 4 ]
	[ "$(cat out)" = "tintype: raw: changed while it was read: stop what writes to it, and try again" ]
	[ ! -e i.img ]
}

@test "image export: refuses what exists, and terminals" {
	random raw 4096
	image create raw i.img
	run -4 image export i.img raw
	[ "$output" = "tintype: raw: exists: give another name, or remove it first" ]
	mkfifo pipe
	ln -s /dev/null device
	for there in pipe:pipe device:device /dev/null:device; do
		run -4 image export i.img "${there%:*}"
		[[ $output == "tintype: ${there%:*}: is a ${there#*:}"*": write it by 'tintype image export IMAGE - | dd of=...'" ]]
	done
	run -2 image export i.img - --json
	run -6 image export raw out
	run -3 image export i.img out --root 1
	[[ $output == "tintype: i.img: has no root 1, only root 0"* ]]
	run -2 image export i.img out --root x
	run -0 image export i.img out --json
	[[ $output == *'"bytes": 4096'* ]]
	[ "$(stat -c %a out)" = 644 ]
}

@test "image compare: codes as cmp has them" {
	random a 8192
	cp a b
	run -0 image compare a b
	printf '\1' | dd of=b bs=1 seek=4100 conv=notrunc status=none
	printf '\2' | dd of=a bs=1 seek=4100 conv=notrunc status=none
	run -1 image compare a b
	[ "$output" = "different: from byte 4100 (0x1004) on, in 1 page of 4096 bytes" ]
	run -1 --separate-stderr image compare --json a b
	[[ $output == *'"first_offset": 4100'*'"offset": 4096'*'"bytes": 4096'* ]]
	cp a b
	truncate -s 12288 b
	run -1 image compare a b
	[ "$output" = "different sizes: 8192 and 12288 bytes" ]
	run -3 image compare a none
	mkdir dir
	run -2 image compare a dir
	run -2 image compare a
}

@test "image: heads are read with what they lie on, and not written" {
	random raw 2000384
	image create raw base
	"$MKHEAD" one 2000384 base 0 7 8
	"$MKHEAD" two 2000384 one 8 100
	chmod 400 one two
	sha256sum one two base > sums
	cp raw want
	for at in 0 7 8 100; do
		head -c 4096 /dev/zero | tr '\0' "\\$(printf %03o $((at + 1)))" |
			dd of=want bs=4096 seek=$at conv=notrunc status=none
	done
	image export two out
	cmp want out
	image compare two want
	run -1 image compare two base
	[[ $output == *"in 4 pages of 4096 bytes" ]]
	run -0 image check --data two one base
	run -0 image info two
	[[ $output == "size: "*"kind: head"*"blocks: 2"*"lies_on:"*"kind: head"*"file: one"* ]]
	run -0 image info --json one
	[[ $output == *'"kind": "layer"'*'"file": "base"'* ]]
	sha256sum -c --quiet sums
	mkdir sub
	mv one sub
	run -6 image export two out2
	[[ $output == "tintype: two: lies on head "*", which is not there: put it beside this one" ]]
	run -6 image check two
	run -3 image export sub/one out2 --root 1
}

@test "image: a head on a raw file wants it" {
	random raw 1000448
	"$MKHEAD" head 1000448 - 3
	run -0 image export head out
	[[ $output == *"--below"* ]]
	rm out
	run -0 image export head out --below raw
	[ -z "$output" ]
	cp raw want
	head -c 4096 /dev/zero | tr '\0' '\4' |
		dd of=want bs=4096 seek=3 conv=notrunc status=none
	cmp out want
	image compare head want --below raw
	run -3 image export head out2 --below none
}

@test "image: a sealed head that lost its end is not an empty disk" {
	"$MKHEAD" head 1000448 - 3 4 5
	"$MKHEAD" --seal head
	run -0 image info head
	[[ $output == *"kind: layer"* ]]
	image check --data head
	poke head $(($(stat -c %s head) - 100))
	for verb in "info head" "check head" "export head out"; do
		run -6 image $verb
		[[ $output == "tintype: head: log damaged at 0x200: no log root"* ]]
	done
}

@test "image: qemu-img reads the export and finds it the same" {
	command -v qemu-img > /dev/null || skip "qemu-img is not installed"
	truncate -s 64M raw
	random part 3000000
	dd if=part of=raw bs=1M seek=10 conv=notrunc status=none
	dd if=part of=raw bs=1M seek=50 conv=notrunc status=none
	image create raw i1 --compress
	poke raw 52500000
	image create raw i2 --parent i1
	image export i2 out
	qemu-img compare -f raw -F raw raw out
	qemu-img convert -f raw -O qcow2 out out.qcow2
	qemu-img check out.qcow2
	qemu-img compare -f qcow2 -F raw out.qcow2 raw
	qemu-img convert -f qcow2 -O raw out.qcow2 back
	image compare i2 back
	[ "$(du -k out | cut -f1)" -lt 8000 ]
}

@test "image: a failure is an object with --json" {
	run -3 --separate-stderr image info --json none
	[[ $stderr == '{"code":"E_NOT_FOUND",'*'"object":"none"'* ]]
	random raw 1000
	run -2 --separate-stderr image create --json raw i.img
	[[ $stderr == '{"code":"E_USAGE","message":"1000 bytes'* ]]
	random raw 5120
	run -0 image create --json raw i.img
	[[ $output == *'"bytes": 5120'*'"stored_pages": 2'* ]]
}

@test "image: hints at what other programs call it" {
	run -2 image convert
	[ "$output" = "tintype: image convert: unknown verb: did you mean 'image export'?" ]
	for word in commit flatten ls rebase resize rm; do
		run -2 image $word
		[[ $output == "tintype: image $word: unknown verb: "*image* ]]
		[[ $output != *"did you mean"* ]]
	done
	run -0 "$TINTYPE" help image
	[[ $output == *"create"*"compare"* ]]
	help=$output
	run -0 image help
	[ "$output" = "$help" ]
	run -0 "$TINTYPE" help image create
	help=$output
	run -0 image help create
	[ "$output" = "$help" ]
	run -2 image help nonsense
}

@test "image bench measures a raw file and a layer" {
	random raw 1M
	image create raw web.img
	for file in raw web.img; do
		run -0 --separate-stderr image bench --json --reads 100 $file
		[[ $output == *'"reads": 100'* ]]
		[[ $output == *'"median": '* ]]
	done
	run -0 image bench --sequential --block 64K --reads 16 web.img
	[[ $output == *"16 of 64K, sequential"* ]]
}

@test "image bench refuses blocks and reads that cannot be, and damage" {
	random raw 1M
	image create raw web.img
	for words in "--block 4097" "--block 2M" "--block 0" "--reads 0" "--reads x"; do
		run -2 image bench $words web.img
	done
	run -3 image bench none.img
	poke web.img 8192
	run -6 image bench web.img
}

# no_pread N VERB...: the N-th read of d/i.img finds nothing, once.
no_pread() {
	local n=$1
	shift
	strace -qq -o trace -P "$PWD/d/i.img" -P d/i.img \
		-e inject=preadv2:retval=0:when="$n" "$TINTYPE" image "$@"
}

@test "image: a file that becomes an image while it is opened is no empty one" {
	if ! strace -qq -o trace true 2> /dev/null; then
		skip "strace is not there, or may not trace"
	fi
	mkdir d
	random raw 8192
	image create raw d/i.img > /dev/null
	for n in 1 2 3; do
		run no_pread $n export d/i.img out
		[ "$status" != 0 ]
		[ ! -e out ]
		run no_pread $n check d/i.img
		[ "$status" != 0 ]
	done
	run -4 no_pread 1 export d/i.img out
	[[ $output == *"changed while it was opened"* ]]
}

@test "image export: a signal ends it in the middle of terabytes of nothing" {
	"$MKHEAD" i.img $((64 << 40)) -
	timeout 60 "$TINTYPE" image export --progress plain i.img - \
		> /dev/null 2> err 3>&- &
	until grep -q ' % of ' err; do
		kill -0 $!
		sleep 0.1
	done
	# It comes twice: timeout hands it to its child and to the group.
	kill -TERM $!
	code=0
	wait $! || code=$?
	[ "$code" = 9 ]
}

@test "image: a name of any bytes gives JSON, and steers no terminal" {
	odd=$'a\xff\xe2\x82\e[2J\tb'
	random raw 4096
	run -0 image create --json raw "$odd"
	[[ $output == *'"file": "a???\u001B[2J\tb"'* ]]
	for verb in info check bench; do
		run -0 --separate-stderr image $verb --json "$odd"
		[[ $output == *'"file": "a???\u001B[2J\tb"'* ]]
	done
	run -0 image export --json "$odd" "$odd.raw"
	[[ $output == *'"file": "a???\u001B[2J\tb.raw"'* ]]
	run -0 image check "$odd"
	[ "$output" = $'a\xff\xe2\x82?[2J?b: whole (data not read: --data)' ]
}

@test "image: a chain may have as many files as the hard limit allows" {
	random raw 86016
	image create raw i0 > /dev/null
	for n in $(seq 1 20); do
		head -c 4096 /dev/urandom |
			dd of=raw bs=4096 seek="$n" conv=notrunc status=none
		image create raw i$n --parent i$((n - 1)) > /dev/null
	done
	image export i20 out
	cmp raw out
	(
		ulimit -S -n 16
		image compare i20 out
	)
	run -1 bash -c "ulimit -n 16; '$TINTYPE' image export i20 other"
	[[ $output == *": Too many open files: raise the limit with 'ulimit -n'" ]]
	[ ! -e other ]
}

@test "image export: a closed stdout is no place for an image" {
	random raw 4096
	image create raw i.img > /dev/null
	run -1 bash -c "'$TINTYPE' image export i.img - >&-"
	[[ $output == "tintype: stdout: is closed"* ]]
}
