#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The verbs on VMs that run, have ended, or are not there.

load helper

@test "no verb, or an unknown one, is a usage error" {
	run -2 "$TINTYPE"
	[[ $output == "usage: tintype VERB"* ]]
	run -2 "$TINTYPE" rnu
	[ "$output" = "tintype: rnu: unknown verb: did you mean 'run'?" ]
	run -2 "$TINTYPE" kill web
	[ "$output" = "tintype: kill: unknown verb: did you mean 'stop --kill'?" ]
	run -2 "$TINTYPE" ps extra
}

# The words that a help text lists.
listed() {
	"$TINTYPE" help "$@" | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p'
}

# All that can be run or has verbs of its own, a line each: "run", "image",
# "image create".
all_verbs() {
	local word
	for word in $(listed); do
		echo "$word"
		is_noun "$word" && listed "$word" | sed "s/^/$word /"
	done
}

is_noun() {
	[[ $("$TINTYPE" help "$@") == "usage: tintype $* VERB "* ]]
}

@test "help: explains each verb, by every way of asking" {
	run -0 "$TINTYPE" help
	[[ $(all_verbs) == *run* ]]
	while read -ra verb; do
		run -0 "$TINTYPE" help "${verb[@]}"
		[[ ${lines[0]} == "usage: tintype ${verb[*]}"* ]]
		help=$output
		run -0 "$TINTYPE" "${verb[@]}" --help
		[ "$output" = "$help" ]
		run -0 "$TINTYPE" "${verb[@]}" -h
	done < <(all_verbs)
	run -0 "$TINTYPE" --help
	run -2 "$TINTYPE" help nonsense
	[ "$output" = "tintype: nonsense: unknown verb: see 'tintype help'" ]
	run -2 "$TINTYPE" help rnu
	[[ $output == *"did you mean 'run'?" ]]
	run -2 "$TINTYPE" help run stop
	[[ $output == "tintype: help: stop: one operand too many: "* ]]
}

@test "man: every verb has a page that names its options" {
	[ -n "$MAN_DIR" ] || skip "scdoc is not installed"
	[ -s "$MAN_DIR/tintype.1" ]
	while read -ra verb; do
		page=$(IFS=-; echo "tintype-${verb[*]}.1")
		[ -s "$MAN_DIR/$page" ]
		if is_noun "${verb[@]}"; then
			for word in $(listed "${verb[@]}"); do
				grep -q "^.*tintype.*-$verb.*-$word" "$MAN_DIR/$page"
			done
			continue
		fi
		for opt in $("$TINTYPE" help "${verb[@]}" |
			sed -n 's/^ .*--\([a-z-]*\).*  .*/\1/p'); do
			tr -d '\\' < "$MAN_DIR/$page" |
				grep -q -- "--$opt"
		done
	done < <(all_verbs)
}

@test "version: text and JSON agree" {
	run -0 "$TINTYPE" version
	[[ $output =~ ^tintype\ [0-9]+\.[0-9]+\.[0-9]+ ]]
	v=${output#tintype }
	run -0 "$TINTYPE" version --json
	[[ $output == *"\"version\": \"${v%% *}\""* ]]
	run -0 "$TINTYPE" --version
}

@test "completion: bash completes verbs, options and VMs" {
	needs_kvm
	live_vm web
	complete() {
		bash -c 'PATH="$(dirname "$TINTYPE"):$PATH"
			source <(tintype completion bash)
			COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
			_tintype; echo "${COMPREPLY[*]}"' - "$@"
	}
	[ "$(complete tintype res)" = resume ]
	[ "$(complete tintype run --mem)" = --memory ]
	[ "$(complete tintype run --boot l)" = linux64 ]
	[ "$(complete tintype run --boot = l)" = linux64 ]
	[ "$(complete tintype run --on-reboot =)" = "restart exit" ]
	[[ $(complete tintype run -k /et) == */etc* ]]
	[ "$(complete tintype stop w)" = web ]
	[ "$(complete tintype completion f)" = fish ]
	cd "$BATS_TEST_TMPDIR"
	touch data.raw
	[ "$(complete tintype run --disk da)" = data.raw ]
	"$TINTYPE" stop --kill web
	[ "$(complete tintype stop w)" = "" ]
	[ "$(complete tintype rm w)" = web ]
	run -2 "$TINTYPE" completion tcsh
}

@test "completion: the scripts are sound to their shells" {
	"$TINTYPE" completion bash | bash -n
	if command -v zsh > /dev/null; then
		"$TINTYPE" completion zsh | zsh -n
	fi
	if command -v fish > /dev/null; then
		"$TINTYPE" completion fish | fish -n
	fi
}

@test "doctor: judges this host, in words and as JSON" {
	needs_kvm
	run -0 "$TINTYPE" doctor
	[[ $output == *"ok    kernel"*"ok    /dev/kvm"* ]]
	run -0 "$TINTYPE" doctor --json
	[[ $output == *'"check": "/dev/kvm"'* ]]
}

@test "verbs: a VM that is not there is 3" {
	for verb in inspect logs console stop pause resume rm; do
		run -3 "$TINTYPE" $verb nobody
		[[ $output == "tintype: nobody: no such VM: "* ]]
	done
	mkdir -p -m 700 "$TINTYPE_HOME/vms"
	run -3 "$TINTYPE" inspect nobody
	run -3 "$TINTYPE" inspect ../vms
	run -3 --separate-stderr "$TINTYPE" inspect --json nobody
	[[ $stderr == '{"code":"E_NOT_FOUND",'* ]]
}

@test "verbs: a VM that has ended is 5 for what wants it running" {
	needs_kvm
	run -0 "$TINTYPE" run --name web --memory 32M --cmdline 'run="poweroff"' < /dev/null
	for verb in console stop pause resume; do
		run -5 "$TINTYPE" $verb web
		[[ $output == "tintype: web: is not running: "* ]]
	done
	run -5 "$TINTYPE" stop --kill web
}

@test "ps: shows what runs; --all what has ended too" {
	needs_kvm
	run -0 "$TINTYPE" ps
	[ "${#lines[@]}" = 1 ]
	live_vm web
	run -5 "$TINTYPE" run --name old --memory 32M --cmdline 'run="exit 5"' < /dev/null
	run -0 "$TINTYPE" ps
	[[ ${lines[1]} =~ ^web\ +running\ +[0-9]+\ +1\ +32M\ +[0-9]+s ]]
	[ "${#lines[@]}" = 2 ]
	run -0 "$TINTYPE" ls -a
	[[ ${lines[1]} =~ ^old\ +ended\ +-\ +1\ +32M\ +-\ +[0-9]+$ ]]
	[ "${#lines[@]}" = 3 ]
	run -0 "$TINTYPE" ps -aq
	[ "$output" = "$(printf 'old\nweb')" ]
	run -0 "$TINTYPE" ps --all --json
	[[ $output == *'"code": 5'* ]]
}

@test "inspect: a live VM and one that ended" {
	needs_kvm
	live_vm web
	run -0 "$TINTYPE" inspect web
	[[ $output == *"state: running"* ]]
	[[ $output == *"name: uart0"* ]]
	[[ $output == *"directory: $TINTYPE_HOME/vms/web"* ]]
	run -0 "$TINTYPE" inspect --json web
	[[ $output == *'"counters"'* ]]
	"$TINTYPE" stop --kill web
	run -0 "$TINTYPE" inspect web
	[[ $output == *"state: killed"* ]]
	[[ $output == *"directory: $TINTYPE_HOME/vms/web"* ]]
	[[ $output == *"cmdline: run="* ]]
}

@test "pause and resume: change the state, once" {
	needs_kvm
	live_vm web
	run -5 "$TINTYPE" resume web
	run -0 "$TINTYPE" pause web
	[ "$output" = web ]
	run -0 "$TINTYPE" ps
	[[ ${lines[1]} == "web "*" paused "* ]]
	run -5 "$TINTYPE" pause web
	run -5 "$TINTYPE" stop web
	[[ $output == *"resume it first, or use --kill"* ]]
	run -0 "$TINTYPE" unpause web
	run -0 "$TINTYPE" ps
	[[ ${lines[1]} == "web "*" running "* ]]
}

@test "pause: of several, goes on after a failure and keeps its code" {
	needs_kvm
	live_vm a
	live_vm b
	run -3 --separate-stderr "$TINTYPE" pause a none b
	[ "$output" = "$(printf 'a\nb')" ]
	[[ $stderr == "tintype: none: no such VM"* ]]
	run -5 --separate-stderr "$TINTYPE" pause a none
	[ "${#stderr_lines[@]}" = 2 ]
}

@test "stop: the power button ends a guest that listens" {
	needs_kvm
	shell_vm web
	until_true log_has web 'tintype> '
	run -0 "$TINTYPE" stop web
	[ "$output" = web ]
	run -0 "$TINTYPE" inspect web
	[[ $output == *"reason: poweroff"* ]]
}

@test "stop: a press while the guest still boots is not lost" {
	needs_kvm
	for i in 1 2 3 4 5 6; do
		"$TINTYPE" run --detach --name boots --cpus 4
		run -0 "$TINTYPE" stop --timeout 60 boots
	done
}

@test "stop: a guest that does not listen is 9, and --kill ends it" {
	needs_kvm
	live_vm web
	# "ready" is before it: under load a press came between.
	until_true log_has web spinning
	run -9 "$TINTYPE" stop --timeout 1 web
	[[ $output == *"did not power off within 1 s"*"--kill" ]]
	[ "$("$TINTYPE" ps --quiet)" = web ]
	run -0 "$TINTYPE" stop --kill web
	run -0 "$TINTYPE" ps --all
	[[ ${lines[1]} == "web "*"killed"* ]]
	run -2 "$TINTYPE" stop --timeout 0 web
	run -2 "$TINTYPE" stop --timeout x web
}

@test "stop: --kill ends a paused VM and one whose process hangs" {
	needs_kvm
	live_vm web
	"$TINTYPE" pause web
	run -0 "$TINTYPE" stop --kill web
	live_vm web
	kill -STOP "$(pid_of)"
	run -0 "$TINTYPE" stop --kill web
	[ -z "$("$TINTYPE" ps --quiet)" ]
}

@test "stop: --kill ends a VM that hangs with its socket's queue full" {
	needs_kvm
	command -v socat > /dev/null || skip "socat is not installed"
	live_vm web
	pid=$(pid_of)
	kill -STOP "$pid"
	cd "$TINTYPE_HOME/vms/web"
	for _ in {1..24}; do
		socat -u UNIX:control.sock - < /dev/null > /dev/null 2>&1 3>&- &
	done
	full() {
		[ "$(grep -c "control.sock" /proc/net/unix)" -ge 17 ]
	}
	until_true full
	run -0 "$TINTYPE" stop --kill web
	[ -z "$("$TINTYPE" ps --quiet)" ]
	wait
}

@test "rm: removes what has ended, and only that" {
	needs_kvm
	live_vm web
	run -5 "$TINTYPE" rm web
	[[ $output == "tintype: web: is running: "* ]]
	"$TINTYPE" stop --kill web
	run -0 "$TINTYPE" rm web
	[ -z "$(ls "$TINTYPE_HOME/vms")" ]
	run -2 "$TINTYPE" rm
	run -2 "$TINTYPE" rm --all web
}

@test "rm: --all leaves those that run" {
	needs_kvm
	live_vm a
	live_vm b
	"$TINTYPE" stop --kill --quiet a
	run -0 "$TINTYPE" rm --all
	[ "$output" = a ]
	[ "$("$TINTYPE" ps --all --quiet)" = b ]
}

@test "logs: has what was printed, after the end too" {
	needs_kvm
	run -0 "$TINTYPE" run --name web --memory 32M \
		--cmdline 'run="echo one; echo two"' < /dev/null
	console=$output
	run -0 "$TINTYPE" logs web
	[ "$output" = "$console" ]
}

@test "control: what comes with a kill does not run the guest again" {
	needs_kvm
	live_vm web
	run -0 sh -c 'printf "{\"verb\":\"kill\"}\n{\"verb\":\"resume\"}\n" |
		socat -t 10 - "UNIX:$TINTYPE_HOME/vms/web/control.sock"'
	[[ ${lines[0]} == *'"ok":true'* ]]
	[[ ${lines[1]} == *'"message":"has ended"'* ]]
}

@test "logs: --follow prints until the end" {
	needs_kvm
	shell_vm web
	until_true log_has web 'tintype> '
	"$TINTYPE" logs --follow web > "$BATS_TEST_TMPDIR/followed" &
	printf 'flood 8\rexit 0\r' | "$TINTYPE" console web > /dev/null
	wait
	"$TINTYPE" logs web | cmp - "$BATS_TEST_TMPDIR/followed"
}

@test "console: passes input and output through pipes" {
	needs_kvm
	shell_vm web
	until_true log_has web 'tintype> '
	run -0 --separate-stderr sh -c \
		'printf "echo hello\rexit 0\r" | "$TINTYPE" console web'
	[[ $output == *hello* ]]
	[ "$stderr" = "tintype: web: the console was closed" ]
}

@test "console: two at once see the same" {
	needs_kvm
	shell_vm web
	until_true log_has web 'tintype> '
	"$TINTYPE" console web < /dev/null > "$BATS_TEST_TMPDIR/a" &
	two_clients() {
		[ "$(ls -l "/proc/$(pid_of)/fd" | grep -c socket)" -ge 3 ]
	}
	until_true two_clients
	printf 'echo both\rexit 0\r' | "$TINTYPE" console web \
		> "$BATS_TEST_TMPDIR/b"
	wait
	grep -q both "$BATS_TEST_TMPDIR/a"
	grep -q both "$BATS_TEST_TMPDIR/b"
}

@test "output: a full disk is a failure, not a lie" {
	[ -e /dev/full ] || skip "no /dev/full here"
	run -8 sh -c '"$TINTYPE" help > /dev/full'
	[[ $output == "tintype: stdout: No space left on device" ]]
}

@test "output: closed standard files are no danger" {
	run -0 sh -c '"$TINTYPE" version <&- >&- 2>&-'
}

@test "program: is position-independent, read-only after start, no code on the stack" {
	command -v readelf > /dev/null || skip "readelf is not installed"
	run -0 readelf -hldW "$TINTYPE"
	[[ $output == *"Type:"*"DYN (Position-Independent"* ]]
	[[ $output == *GNU_RELRO* ]]
	[[ $output =~ GNU_STACK\ +0x0+\ 0x0+\ 0x0+\ 0x0+\ 0x0+\ RW\  ]]
	[[ $output != *TEXTREL* ]]
}

@test "logs: a VM that is ready has its first words there" {
	needs_kvm
	for _ in 1 2 3 4 5; do
		live_vm words
		[[ $("$TINTYPE" logs words) == *"tintype demo guest"* ]]
		"$TINTYPE" stop --kill words
	done
}
