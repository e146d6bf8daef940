#!/bin/busybox sh
# SPDX-License-Identifier: BSD-2-Clause
# First program of a full-image guest: finds the disk, gives its root what the campaign brings
# along, and makes way for the root's own init.
export PATH=/bin
mkdir -p /dev /proc /sys /root
mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
mount -t proc proc /proc
mount -t sysfs sysfs /sys

give_up() {
    echo "harness: $*"
    sync
    sleep 1        # the panic's own words would overtake it
    exit 1         # init's end panics the kernel: the guest does not become ready, and says why
}

while read -r module; do
    insmod "/boot-modules/$module.ko" || give_up "the module $module cannot be loaded"
done < /boot-modules/order

tries=0
until [ -b /dev/vda ]; do
    tries=$((tries + 1))
    [ "$tries" -gt 100 ] && give_up "no disk /dev/vda: has the kernel virtio_pci and virtio_blk?"
    sleep 0.1
done
mount -t ext4 -o rw,noatime /dev/vda /root || give_up "the disk cannot be mounted"
mount -t tmpfs -o mode=755 tmpfs /root/run || give_up "no tmpfs for /run"
cp -a /harness /root/run/harness || give_up "not enough memory for /run/harness"
chmod 700 /root/run/harness/ssh
mount --move /dev /root/dev
mount --move /proc /root/proc
mount --move /sys /root/sys
exec switch_root /root /sbin/init
give_up "the root has no /sbin/init"
