# SPDX-License-Identifier: Apache-2.0
# A home of its own for each test, and no VM left when it is over.
# TINTYPE is the program; MAN_DIR holds the built pages.

setup() {
	export TINTYPE_HOME="$BATS_TEST_TMPDIR/home"
	bats_require_minimum_version 1.5.0
}

teardown() {
	for vm in $("$TINTYPE" ps --quiet); do
		"$TINTYPE" stop --kill "$vm" || true
	done
}

needs_kvm() {
	if ! { : <> /dev/kvm; } 2> /dev/null; then
		skip "/dev/kvm cannot be opened"
	fi
}

needs_root() {
	[ "$(id -u)" = 0 ] || skip "only root can become another user"
}

# A VM named $1 that is ready and stays; more words go to run.
live_vm() {
	local name=$1
	shift
	"$TINTYPE" run --detach --wait-ready --name "$name" \
		--cmdline 'run="ready; spin"' --memory 32M "$@" > /dev/null
}

# The same, with the demo guest's shell; it prints its prompt when ready.
shell_vm() {
	local name=$1
	shift
	"$TINTYPE" run --detach --name "$name" --memory 32M "$@" > /dev/null
}

# Until the command succeeds; a hang is ended by the suite's own limit.
until_true() {
	until "$@"; do
		sleep 0.02
	done
}

log_has() {
	"$TINTYPE" logs "$1" | grep -q "$2"
}

none_runs() {
	[ -z "$("$TINTYPE" ps --quiet)" ]
}

pid_of() {
	"$TINTYPE" ps --json | tr -d ' ,' | sed -n 's/"pid"://p'
}
