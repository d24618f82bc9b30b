#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The sandbox as it is around a VM that runs.

load helper

# The value of field $2 in each thread's status of process $1, once each.
each_thread() {
	cat /proc/"$1"/task/*/status | awk -v f="$2:" '$1 == f { print $2 }' |
		sort -u
}

@test "sandbox: every thread of a VM has its filter and no privilege" {
	needs_kvm
	live_vm boxed --cpus 3
	pid=$(pid_of)
	# The I/O thread, three vCPUs, the writer, and whatever the kernel keeps
	# with them.
	[ "$(ls /proc/"$pid"/task | wc -l)" -ge 5 ]
	[ "$(each_thread "$pid" Seccomp)" = 2 ]
	[ "$(each_thread "$pid" NoNewPrivs)" = 1 ]
	[ "$(each_thread "$pid" CapEff)" = 0000000000000000 ]
	[ "$(each_thread "$pid" CapPrm)" = 0000000000000000 ]
}

@test "sandbox: a VM leaves no core dump with the guest's RAM" {
	needs_kvm
	live_vm boxed
	run -0 grep "Max core file size" /proc/"$(pid_of)"/limits
	[[ $output =~ "Max core file size"\ +0\ +0\ + ]]
}

@test "sandbox: a VM inherits no file" {
	needs_kvm
	# Its directory of fds is root's, as it is not dumpable.
	needs_root
	secret=$BATS_TEST_TMPDIR/secret
	echo "not for guests" > "$secret"
	live_vm boxed 9< "$secret" 200< "$secret"
	run -0 ls -l /proc/"$(pid_of)"/fd
	[[ $output == *console.log* ]]
	[[ $output != *secret* ]]
}

@test "sandbox: a VM may have as many files open as its user may" {
	needs_kvm
	ulimit -Sn 300
	hard=$(ulimit -Hn)
	live_vm boxed
	run -0 awk '/Max open files/ { print $4 }' /proc/"$(pid_of)"/limits
	[ "$output" = "$hard" ]
}

@test "sandbox: a VM has kept its way to see which pages it has" {
	needs_kvm
	needs_root
	live_vm boxed
	run -0 ls -l /proc/"$(pid_of)"/fd
	[[ $output == *pagemap* ]]
}

@test "sandbox: what a VM does in its life stays within it" {
	needs_kvm
	shell_vm busy --cpus 2 --share-console "$BATS_TEST_TMPDIR/shared"
	until_true log_has busy 'tintype> '
	pid=$(pid_of)
	for _ in 1 2 3; do
		"$TINTYPE" pause busy
		"$TINTYPE" inspect busy > /dev/null
		"$TINTYPE" resume busy
	done
	# Console clients come and go; the guest resets itself and goes on.
	printf 'echo one\r' | timeout 1 "$TINTYPE" console busy || true
	printf 'reboot\r' | timeout 1 socat - \
		"UNIX:$BATS_TEST_TMPDIR/shared" > /dev/null || true
	booted_twice() {
		[ "$("$TINTYPE" logs busy | grep -c 'demo guest:')" -ge 2 ]
	}
	until_true booted_twice
	# More output than the rings hold.
	printf 'flood 100\r' | timeout 2 "$TINTYPE" console busy \
		> /dev/null || true
	# Clients that send garbage, and that are too many.
	for _ in $(seq 20); do
		echo garbage | timeout 1 socat - \
			"UNIX:$TINTYPE_HOME/vms/busy/control.sock" || true
	done > /dev/null 2>&1
	kill -0 "$pid"
	[ "$("$TINTYPE" ps --quiet)" = busy ]
	"$TINTYPE" stop busy
	[[ $("$TINTYPE" ps --all) == *"busy "*ended* ]]
}
