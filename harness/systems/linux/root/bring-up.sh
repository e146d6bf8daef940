#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Run once by init(8): kernel file systems, the network of the guest alone, the SSH server.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec </dev/null >/dev/console 2>&1

mkdir -p /dev/pts /dev/shm /run/lock /run/sshd
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
# in memory, as targets know it of the micro-guest
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t debugfs debugfs /sys/kernel/debug
hostname -F /etc/hostname
ip link set lo up
for device in /sys/class/net/*; do
    device=${device##*/}
    [ "$device" = lo ] && continue
    ip address add 10.0.2.15/24 dev "$device"
    ip link set "$device" up
    break
done
# it returns when it listens
if /usr/sbin/sshd; then
    echo "harness: the SSH server listens"
else
    echo "harness: the SSH server does not start"
fi
