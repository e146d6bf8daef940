# SPDX-License-Identifier: BSD-2-Clause
"""A kernel tree that builds in a moment, packed as a distribution's source package."""

import difflib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.files import file_hash
from harness.kernels.kbuild.architecture import architecture
from harness.kernels.kbuild.builder import linux_builder
from harness.kernels.kbuild.config import parse_fragment
from harness.kernels.kernel import Kernel
from harness.kernels.source.build import built_kernel
from harness.plan.kernel import SourceRecipe

# As the kernel's, in small: configuration by KCONFIG_ALLCONFIG, objects below O=, rebuilt by time.
# `compiled` notes each compilation; a file mm/slow makes compilations of mm/ take half a minute.
_MAKEFILE = """\
objects := $(patsubst %.c,$(O)/%.o,$(wildcard mm/*.c))
allnoconfig:
\t@mkdir -p $(O)
\t@awk -f scripts/config.awk Kconfig $(KCONFIG_ALLCONFIG) > $(O)/.config
olddefconfig: ;
bzImage: $(O)/vmlinux
\t@mkdir -p $(O)/arch/x86/boot $(O)/include/config
\t@gzip -nc $< > $(O)/arch/x86/boot/bzImage
\t@echo 5.10.223$(LOCALVERSION)-fake > $(O)/include/config/kernel.release
\t@echo kernel/drivers/block/zram/zram.ko > $(O)/modules.builtin
$(O)/vmlinux: $(objects)
\t@cat $^ > $@
$(O)/%.o: %.c
\t@mkdir -p $(@D)
\t@echo "  CC      $(patsubst $(O)/%,%,$@)"
\t@echo $< >> $(O)/compiled
\t@if [ -e mm/slow ]; then echo half > $@; sleep 30 & echo $$! > $(O)/sleeper; wait; fi
\t@$(CC) -c -o $@ $<
"""
_CONFIG_AWK = """\
FNR == NR && $1 == "config" { symbol = $2; known[symbol] = 1 }
FNR == NR && $1 == "depends" { needs[symbol] = $3 }
FNR == NR { next }
/^CONFIG_/ { split($0, part, "="); value[substr(part[1], 8)] = part[2] }
END {
    for (symbol in value)
        if (symbol in known && (!(symbol in needs) || value[needs[symbol]] == "y"))
            print "CONFIG_" symbol "=" value[symbol]
}
"""
_KCONFIG_EXTRA = """\
config KCSAN
\tbool "KCSAN: dynamic data race detector"
\tdepends on HAVE_KCSAN_COMPILER

config HAVE_KCSAN_COMPILER
\tbool

config KASAN
\tbool "KASAN: runtime memory debugger"
"""
MEMORY_C = "".join(f"int memory_{line};\n" for line in range(1, 31))


@dataclass
class FakeLinux:
    """The fake source package in a cache, a target's folder, and ways to build one with another."""

    cache: Path
    target: Path
    tree: Path
    said: list[str] = field(default_factory=list)
    fragments: str | list[str] = "race.config"

    def config(self, text: str) -> None:
        (self.target / "race.config").write_text(text)

    def patch(self, name: str, path: str, change: Callable[[str], str]) -> str:
        """Writes the patch that makes this change to a file of the tree; its name."""
        file = self.tree / path
        old = file.read_text() if file.exists() else ""
        lines = difflib.unified_diff(
            old.splitlines(True),
            change(old).splitlines(True),
            f"a/{path}" if file.exists() else "/dev/null",
            f"b/{path}",
        )
        (self.target / name).write_text("What it is for.\n\n" + "".join(lines))
        return name

    def recipe(self, *patches: str, **source: str) -> SourceRecipe:
        """Of the package, unless `source` names another."""
        return SourceRecipe.model_validate(
            (source or {"package": "linux-source-5.10", "suite": "bullseye"})
            | {
                "config": self.fragments,
                "patches": [name for name in patches if not name.endswith(".cocci")],
                "semantic_patches": [name for name in patches if name.endswith(".cocci")],
            }
        )

    def build(self, *patches: str, **source_keys: str) -> Kernel:
        recipe = self.recipe(*patches, **source_keys)
        return built_kernel(
            recipe,
            linux_builder(recipe, "x86_64", self.target),
            self.target,
            self.cache,
            self.said.append,
        )

    def git(self, *arguments: str) -> str:
        """git in the tree, as nobody in particular."""
        identity = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
        done = subprocess.run(
            ["git", *identity, "-c", "init.defaultBranch=main", *arguments],
            cwd=self.tree,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, tag: str) -> str:
        """Commits and tags the tree as it is; the commit's id."""
        if not (self.tree / ".git").exists():
            self.git("init", "-q")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", tag)
        self.git("tag", tag)
        return self.git("rev-parse", "HEAD")

    @property
    def build_folder(self) -> Path:
        (folder,) = (path for path in (self.cache / "builds").iterdir() if path.is_dir())
        return folder

    @property
    def objects(self) -> Path:
        return self.build_folder / "source/objects"

    def compiled(self) -> list[str]:
        """Files compiled since the last time this was asked."""
        listing = self.objects / "compiled"
        if not listing.exists():
            return []
        names = sorted(listing.read_text().split())
        listing.unlink()
        return names

    def cached_kernels(self) -> list[str]:
        return [path.name for path in (self.cache / "kernels").glob("*")]


def write_tree(tree: Path) -> None:
    """The tree as its distribution has it."""
    base = architecture("x86_64").base
    symbols = parse_fragment(base.read_text(), str(base))
    kconfig = "".join(f'config {symbol}\n\tbool "{symbol}"\n\n' for symbol in symbols)
    for name, text in {
        "Makefile": _MAKEFILE,
        "Kconfig": kconfig + _KCONFIG_EXTRA,
        "scripts/config.awk": _CONFIG_AWK,
        "init/main.c": "int main_c;\n",
        "mm/memory.c": MEMORY_C,
        "mm/swap.c": "int swap;\n",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)


def publish_package(tree: Path, cache: Path) -> None:
    """A real Debian package, with the record by which the harness knows that it is downloaded."""
    folder = cache / "packages/bullseye-amd64"
    folder.mkdir(parents=True)
    staging = tree.with_name("staging")
    (staging / "usr/src").mkdir(parents=True)
    (staging / "DEBIAN").mkdir()
    (staging / "DEBIAN/control").write_text(
        "Package: linux-source-5.10\nVersion: 5.10.223-1\nArchitecture: all\n"
        "Maintainer: nobody <nobody@example.org>\nDescription: a fake kernel\n"
    )
    tarball = staging / "usr/src/linux-source-5.10.tar.xz"
    subprocess.run(
        ["tar", "-cJf", tarball, "--transform", "s,^tree,linux-source-5.10,", "tree"],
        cwd=tree.parent,
        check=True,
    )
    file = folder / "linux-source-5.10_5.10.223-1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "-b", staging, file],
        check=True,
        capture_output=True,
    )
    record = {
        "name": "linux-source-5.10",
        "version": "5.10.223-1",
        "architecture": "amd64",
        "suite": "bullseye",
        "file": file.name,
        "sha256": file_hash(file),
    }
    (folder / "linux-source-5.10.json").write_text(json.dumps(record))
