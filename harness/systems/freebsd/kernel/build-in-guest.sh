#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds a kernel in a FreeBSD guest: build-in-guest.sh WORK IDENT [MAKE'S ARGUMENTS ...]
#
# WORK is a folder that stays from build to build. What is new for it has been unpacked there:
# src/..., the configuration IDENT, and `removed`, the files that the tree has no more.
# What is made is copied to WORK/made: kernel, and kernel.full with symbols.
set -e
work=$1 ident=$2
shift 2
cd "$work"
while IFS= read -r name; do
	rm -f "src/$name"
done < removed
rm -rf made
mkdir -p obj made
MAKEOBJDIRPREFIX=$work/obj
export MAKEOBJDIRPREFIX
make -C "$work/src" "$@" -DNO_CLEAN -DWITHOUT_CLEAN "KERNCONF=$ident" "KERNCONFDIR=$work" \
	SRCCONF=/dev/null __MAKE_CONF=/dev/null WERROR= buildkernel
# obj/TREE/MACHINE/sys/IDENT since 12, obj/TREE/sys/IDENT before
folder=$(find obj -type d -path "*/sys/$ident" | head -n 1)
[ -n "$folder" ] || { echo "error: the build has left no folder sys/$ident below obj"; exit 1; }
full=
for name in kernel.full kernel.debug; do
	[ -n "$full" ] || [ ! -f "$folder/$name" ] || full=$folder/$name
done
[ -n "$full" ] || { echo "error: the build has left no kernel.full in $folder"; exit 1; }
cp "$folder/kernel" made/kernel
cp "$full" made/kernel.full
