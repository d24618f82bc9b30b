#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# --net: what is opened for it, what is refused, and how it ends.

load helper

demo() {
	"$TINTYPE" run --memory 32M --cmdline "run=\"$1\"" "${@:2}" < /dev/null
}

# A passt that only waits for the end of its socket, and tells.
fake_passt() {
	mkdir -p "$BATS_TEST_TMPDIR/bin"
	cat > "$BATS_TEST_TMPDIR/bin/passt" <<-END
		#!/bin/sh
		echo "\$*" > "$BATS_TEST_TMPDIR/words"
		ls -l /proc/self/fd > "$BATS_TEST_TMPDIR/fds"
		cat <&3 > /dev/null
		echo over > "$BATS_TEST_TMPDIR/over"
	END
	chmod 755 "$BATS_TEST_TMPDIR/bin/passt"
	PATH="$BATS_TEST_TMPDIR/bin:$PATH"
}

@test "net: words that make no sense are refused with a hint" {
	run -2 demo "exit 0" --net bridge=br0
	[[ $output == *"--net bridge=br0: not a network: use tap=IF"* ]]
	run -2 demo "exit 0" --net tap=t0,mtu=9
	[[ $output == *"not an MTU: use 68 to 65535"* ]]
	run -2 demo "exit 0" --net tap=t0,id=a --net tap=t1,id=a
	[[ $output == *"the same id"* ]]
}

@test "net: a dry run prints the cards, and opens none" {
	needs_kvm
	run -0 "$TINTYPE" run --dry-run --net tap=nosuch,mtu=1400 --net passt
	[[ $output == *'"net"'*'"tap=nosuch,mtu=1400"'*'"passt"'* ]]
	run -0 "$TINTYPE" run --dry-run --net passt --net none
	[[ $output != *'"net"'* ]]
}

@test "net: a tap that cannot be had is told with the command that makes it" {
	needs_kvm
	needs_root
	[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
	# Without the privilege to make one.
	run -10 setpriv --bounding-set -net_admin --inh-caps -net_admin \
		"$TINTYPE" run --memory 32M --net tap=nosuch0 < /dev/null
	[[ $output == *"tap nosuch0"*"sudo ip tuntap add dev nosuch0 mode tap"* ]]
}

@test "net: an fd that is no tap is refused" {
	needs_kvm
	run -2 demo "exit 0" --net fd=99
	[[ $output == *"tap fd 99: it is not open"* ]]
	exec 9< /dev/null
	run -2 demo "exit 0" --net fd=9
	exec 9<&-
	[[ $output == *"tap fd 9: it is no tap"* ]]
}

@test "net: without passt, or without its socket, it says so" {
	needs_kvm
	run -3 env PATH=/nowhere "$TINTYPE" run --memory 32M --net passt \
		< /dev/null
	[[ $output == *"passt: it is not installed: install it"* ]]
	run -3 demo "exit 0" --net passt=/nowhere/socket
	[[ $output == *"connect to /nowhere/socket: No such file"* ]]
}

@test "net: passt is started with its socket alone, and ends with the VM" {
	needs_kvm
	fake_passt
	exec 8< /dev/null
	run -0 demo "net; net send 10; poweroff" --net passt
	exec 8<&-
	[[ $output == *"link up"*"sent 10 frames"* ]]
	[ "$(cat "$BATS_TEST_TMPDIR/words")" = "--foreground --quiet --fd 3" ]
	[[ $(cat "$BATS_TEST_TMPDIR/fds") != *" 8 ->"* ]]
	until_true test -e "$BATS_TEST_TMPDIR/over"
}

@test "net: passt ends with a VM that is killed" {
	needs_kvm
	fake_passt
	live_vm doomed --net passt
	kill -KILL "$(pid_of)"
	until_true test -e "$BATS_TEST_TMPDIR/over"
}

@test "net: passt that ends takes the link down, and the VM runs on" {
	needs_kvm
	fake_passt
	sed -i 's/^cat .*//' "$BATS_TEST_TMPDIR/bin/passt"
	run -7 demo "sleep 300; net send 3; net; exit 7" --net passt
	[[ $output == *"link down"* ]]
}

@test "net: frames go through a tap, in the sandbox" {
	needs_kvm
	[ "$(id -u)" = 0 ] || skip "only root can make a tap"
	[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
	unshare --net true || skip "no network namespace can be made"
	run -0 unshare --net "$TINTYPE" run --memory 32M --net tap=tt0,id=lan \
		--net tap=tt1,bps=1M --cmdline 'run="net; net send 100 65000"' \
		< /dev/null
	[[ $output == *"link up"*"sent 100 frames"* ]]
}
