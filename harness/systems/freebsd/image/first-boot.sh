#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Run by root in the image, once, from the folder that its companions are in: whoever comes later
# is let in over SSH, by the key that a campaign brings, and finds the commands of a micro-guest.
# What it says is `harness: NAME VALUE`.
here=$(cd "$(dirname "$0")" && pwd)
rc=$here/etc

say() {
	echo "harness: $*"
}

fail() {
	say "failed $*"
	exit 1
}

say "release $(uname -r)"
# __FreeBSD_version of the image's programs, and of the kernel that runs them
say "userland $(uname -U)"
say "kernel $(uname -K)"
[ -x /usr/sbin/sshd ] || fail "the image has no /usr/sbin/sshd"
[ -x /usr/bin/ssh-keygen ] || fail "the image has no /usr/bin/ssh-keygen"
say "compiler $(command -v cc || echo none)"

cat "$rc/rc.conf" >> /etc/rc.conf || fail "cannot write /etc/rc.conf"
for name in harness harness_ready; do
	cp "$rc/$name" /etc/rc.d/$name && chmod 555 /etc/rc.d/$name ||
		fail "cannot write /etc/rc.d/$name"
done
# root's own shell may be csh(1), and what is sent is for sh(1)
chmod 755 "$here" "$here"/bin "$here"/bin/* "$here/shell" || fail "cannot make $here its commands"
grep -q -x "$here/shell" /etc/shells || echo "$here/shell" >> /etc/shells
pw usermod root -s "$here/shell" || fail "cannot give root a shell"
# nobody logs in on the console any more: what a login prints would stand before a panic's first words
sed -i '' -E '/^(console|ttyu|dcons|rcons|xc)/s/[[:space:]](on|onifconsole|onifexists)([[:space:]]|$)/ off\2/' \
	/etc/ttys || fail "cannot write /etc/ttys"
ln -sf "$here/campaign/workload" /workload || fail "cannot write /workload"

[ -f /etc/ssh/ssh_host_ed25519_key ] ||
	ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key ||
	fail "ssh-keygen makes no key"
say "host-key $(cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub)"
# keys that nobody knows are none
rm -f /etc/ssh/ssh_host_rsa_key* /etc/ssh/ssh_host_ecdsa_key* /etc/ssh/ssh_host_dsa_key*
rm -f /firstboot
sync
say "free $(df -k / | awk 'NR == 2 { print $4 }')"
say done
