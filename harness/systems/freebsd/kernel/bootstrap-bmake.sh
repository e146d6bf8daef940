#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds the tree's make, which does all the rest: bootstrap-bmake.sh SOURCE BUILD INSTALL
#
# As tools/build/make.py of the tree does, but without bmake's own tests: one of them fails where
# /bin/sh is dash, and would end the build.
set -e
source=$1 build=$2 install=$3
mkdir -p "$build" "$install/bin" "$install/share"
cd "$build"
sh "$source/contrib/bmake/configure" \
	--with-default-sys-path="$install/share/mk" \
	--with-machine=amd64 --without-filemon \
	--prefix="$install" --with-mksrc="$source/contrib/bmake/mk"
sh ./make-bootstrap.sh
cp -R "$source/contrib/bmake/mk" "$install/share/"
# last and at once: where this is, all is
cp bmake "$install/bin/.bmake"
mv "$install/bin/.bmake" "$install/bin/bmake"
