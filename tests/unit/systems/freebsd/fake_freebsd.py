# SPDX-License-Identifier: BSD-2-Clause
"""A FreeBSD tree that builds in a moment: its make is a shell script that does what is counted."""

from dataclasses import dataclass, field
from pathlib import Path

from harness.kernels.kernel import Kernel
from harness.kernels.source.build import built_kernel
from harness.plan.kernel import SourceRecipe
from harness.systems.freebsd.builder import freebsd_builder

# configure writes what bootstraps the make; the make notes what it was told and builds by time
_CONFIGURE = """\
#!/bin/sh
cat > make-bootstrap.sh <<'END'
echo bootstrapped >> "{notes}"
cat > bmake <<'SCRIPT'
#!/bin/sh
{make}
SCRIPT
chmod +x bmake
END
"""
_MAKE = """\
for word; do
    case $word in
    -C) next=1 ;;
    TARGET=*) target=${word#*=} ;;
    TARGET_ARCH=*) arch=${word#*=} ;;
    KERNCONF=*) ident=${word#*=} ;;
    KERNCONFDIR=*) confdir=${word#*=} ;;
    *) [ "$next" ] && cd "$word"; next=; goal=$word ;;
    esac
done
echo "$goal XCC=$XCC" >> "{notes}"
objects=$MAKEOBJDIRPREFIX$PWD/$target.$arch
mkdir -p "$objects/tmp/legacy/bin" "$objects/tmp/obj-tools"
case $goal in
kernel-toolchain)
    echo "===> usr.sbin/config (obj)"
    echo tool > "$objects/tmp/legacy/bin/config"
    echo object > "$objects/tmp/obj-tools/config.o"
    ln -sfn "$PWD/sys" "$objects/tmp/sys"
    ;;
buildkernel)
    [ -e "$objects/tmp/sys/sys/param.h" ] || { echo "no tools: error: no link"; exit 1; }
    made=$objects/sys/$ident
    mkdir -p "$made"
    for file in sys/vm/*.c; do
        name=$(basename "$file" .c)
        [ "$made/$name.o" -nt "$file" ] && continue
        echo "--- $name.o ---"
        if grep broken "$file"; then echo "$PWD/$file:7:1: error: unknown type"; exit 1; fi
        echo "compiled $name" >> "{notes}"
        cp "$file" "$made/$name.o"
    done
    cat "$confdir/$ident" "$made"/*.o > "$made/kernel.full"
    cp "$made/kernel.full" "$made/kernel"
    cp "$made/kernel.full" "$made/kernel.bin"
    ;;
esac
"""
_NEWVERS = """\
TYPE="FreeBSD"
REVISION="13.2"
BRANCH="RELEASE"
"""
_CLANG = "#!/bin/sh\necho clang version 14.0.6\n"
FRAGMENT = "options \tWITNESS\t# slow\n"


@dataclass
class FakeFreeBSD:
    """The tree, a target's folder, a cache, and what was said and done."""

    folder: Path
    said: list[str] = field(default_factory=list)

    @property
    def tree(self) -> Path:
        return self.folder / "src"

    @property
    def target(self) -> Path:
        return self.folder / "target"

    @property
    def notes(self) -> list[str]:
        """What the tree's make was told, and the files that it compiled."""
        file = self.folder / "notes"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def compiled(self) -> list[str]:
        return [
            note.removeprefix("compiled ") for note in self.notes if note.startswith("compiled")
        ]

    def write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def recipe(self, *patches: str) -> SourceRecipe:
        return SourceRecipe(
            directory=str(self.tree), config=["race.conf"], patches=list(patches),
            compiler=str(self.folder / "llvm/bin/clang"),
        )  # fmt: skip

    def build(self, *patches: str, arch: str = "x86_64") -> Kernel:
        recipe = self.recipe(*patches)
        builder = freebsd_builder(recipe, arch, self.target)
        return built_kernel(recipe, builder, self.target, self.folder / "cache", self.said.append)


def make_fake(folder: Path) -> FakeFreeBSD:
    """The tree and all around it, nothing built."""
    fake = FakeFreeBSD(folder)
    make = _MAKE.replace("{notes}", str(folder / "notes"))
    configure = _CONFIGURE.replace("{make}", make).replace("{notes}", str(folder / "notes"))
    texts = {
        "src/Makefile.inc1": "# a Makefile\n",
        "src/tools/build/make.py": "# cross-builds\n",
        "src/sys/conf/newvers.sh": _NEWVERS,
        "src/sys/conf/options": _options(),
        "src/sys/conf/options.amd64": "HAMMER opt_cpu.h\n",
        "src/sys/conf/options.arm64": "LINUX_BOOT_ABI opt_global.h\nINTRNG\nVFP\n",
        "src/sys/sys/param.h": "#define __FreeBSD_version 1302001\n",
        "src/sys/vm/vm_fault.c": "int fault;\n",
        "src/sys/vm/vm_object.c": "int object;\n",
        "src/contrib/bmake/configure": configure,
        "src/contrib/bmake/mk/sys.mk": "# rules\n",
        "target/race.conf": FRAGMENT,
    }
    for name, text in texts.items():
        fake.write(name, text)
    for program in ("clang", "clang++", "clang-cpp", "ld.lld"):
        fake.write(f"llvm/bin/{program}", _CLANG).chmod(0o755)
    return fake


def _options() -> str:
    names = """SCHED_ULE PREEMPTION SMP EARLY_AP_STARTUP _KPOSIX_PRIORITY_SCHEDULING FFS MD_ROOT
        MD_ROOT_SIZE INET CAPABILITY_MODE CAPABILITIES STACK PRINTF_BUFR_SIZE INVARIANTS
        INVARIANT_SUPPORT KDB KDB_TRACE DDB WITNESS FDT"""
    return "# options\n" + "".join(f"{name}\topt_global.h # one\n" for name in names.split())
