# SPDX-License-Identifier: BSD-2-Clause
"""A kernel built in a FreeBSD guest, by the make and the cc of the image HARNESS_FREEBSD_IMAGE.

The tree is a small one of ours, whose `buildkernel` does what the harness goes by; the guest runs
on a kernel of HARNESS_FREEBSD_SRC.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from configured import NO_SOURCE, SOURCE, freebsd_marks

from harness.errors import ConfigurationError
from harness.kernels.kernel import Kernel
from harness.kernels.override import kernel_recipes, parse_sources
from harness.kernels.source.build import built_kernel
from harness.paths import PROJECT, cache_folder
from harness.plan.kernel import SourceRecipe
from harness.plan.load import Guest, chosen_guest, load_target
from harness.systems.freebsd.guest_builder import guest_builder
from harness.systems.registry import SYSTEMS

IMAGE = os.environ.get("HARNESS_FREEBSD_IMAGE")
pytestmark = freebsd_marks(
    bool(SOURCE and IMAGE), f"{NO_SOURCE}, or HARNESS_FREEBSD_IMAGE no VM image of its release"
)
_TREE = {
    "Makefile.inc1": "# ours\n",
    "Makefile": """\
OBJ=	${.CURDIR:H}/obj${.CURDIR}/sys/${KERNCONF}
buildkernel: .PHONY
	mkdir -p ${OBJ}
	${MAKE} -f ${.CURDIR}/kernel.mk -C ${OBJ} SRC=${.CURDIR} kernel
""",
    "kernel.mk": """\
.for name in main vm_fault
${name}.o: ${SRC}/sys/vm/${name}.c
	${SLOWLY} cc -c -o ${.TARGET} ${SRC}/sys/vm/${name}.c
.endfor
kernel: main.o vm_fault.o
	cc -r -o kernel.full main.o vm_fault.o
	cp kernel.full kernel
""",
    "sys/conf/newvers.sh": 'REVISION="12.4"\nBRANCH="RELEASE"\n',
    "sys/conf/options": "INVARIANTS opt_global.h\nINVARIANT_SUPPORT opt_global.h\n",
    "sys/vm/main.c": "int fault(void);\nint main(void) { return fault(); }\n",
    "sys/vm/vm_fault.c": "int fault(void) { return 3; }\n",
    "target/race.conf": "# nothing\n",
}


@pytest.fixture(scope="module")
def machine() -> Guest:
    """The image, to be booted on a kernel of the tree's."""
    assert IMAGE is not None
    guest = chosen_guest(PROJECT, "freebsd-amd64-full", IMAGE)
    target = load_target(PROJECT, "freebsd-cow-valid")
    recipe = kernel_recipes(target, guest.known_as, parse_sources(SOURCE, None, None))["released"]
    kernel = SYSTEMS["freebsd"].acquire_kernel(
        recipe, guest.model, target.folder, cache_folder(), print
    )
    assert guest.model.image is not None
    image = guest.model.image.model_copy(update={"kernel": str(kernel.image.with_name("vmlinux"))})
    return Guest(guest.name, guest.file, guest.model.model_copy(update={"image": image}))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    # a cache of this test's own, but for the image behind its first boot
    images = cache_folder() / "images"
    images.mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/images").symlink_to(images)
    tree = tmp_path / "tree"
    for name, text in _TREE.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return tree


def build(tree: Path, machine: Guest) -> Kernel:
    recipe = SourceRecipe(directory=str(tree), config=["race.conf"], build_in="x")
    builder = guest_builder(recipe, "x86_64", tree / "target", machine, ())
    return built_kernel(recipe, builder, tree / "target", tree.parent / "cache", print)


def compiled(kernel: Kernel) -> list[str]:
    """What make says it makes (more than once where it has two lines to print)."""
    log = kernel.image.with_name("build.log").read_text()
    return sorted(set(re.findall(r"^--- (\S+\.o) ---$", log, re.MULTILINE)))


def test_a_tree_is_built_and_a_change_costs_what_it_touches(tree: Path, machine: Guest) -> None:
    first = build(tree, machine)
    assert first.release == "12.4-RELEASE"
    assert first.image.read_bytes().startswith(b"\x7fELF")
    assert compiled(first) == ["main.o", "vm_fault.o"]
    assert build(tree, machine) == first
    (tree / "sys/vm/vm_fault.c").write_text("int fault(void) { return 4; }\n")
    second = build(tree, machine)
    assert second.identity != first.identity
    assert compiled(second) == ["vm_fault.o"]


def test_an_error_of_the_guests_compiler_is_shown(tree: Path, machine: Guest) -> None:
    patch = "--- a/sys/vm/vm_fault.c\n+++ b/sys/vm/vm_fault.c\n@@ -1 +1 @@\n"
    patch += "-int fault(void) { return 3; }\n+int fault(void) { return no_such_name; }\n"
    (tree / "target/bug.patch").write_text(patch)
    recipe = SourceRecipe(
        directory=str(tree), config=["race.conf"], patches=["bug.patch"], build_in="x"
    )
    builder = guest_builder(recipe, "x86_64", tree / "target", machine, ())
    with pytest.raises(
        ConfigurationError, match=r"error: [\s\S]*no_such_name[\s\S]*target's patch"
    ):
        built_kernel(recipe, builder, tree / "target", tree.parent / "cache", print)


def test_nothing_half_built_is_left_when_the_harness_is_killed(tree: Path, machine: Guest) -> None:
    (tree / "Makefile").write_text(_TREE["Makefile"].replace("SRC=", "SLOWLY='sleep 600;' SRC="))
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from harness.plan.guest import GuestModel\nfrom harness.plan.load import Guest\n"
        "sys.path.insert(0, sys.argv[2])\nimport test_freebsd_build_in_guest as t\n"
        "model = GuestModel.model_validate_json(sys.stdin.read())\n"
        "t.build(Path(sys.argv[1]), Guest('x', Path('x'), model))\n"
    )
    argv = [sys.executable, "-c", code, str(tree), str(Path(__file__).parent)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, cwd=PROJECT) as process:
        assert process.stdin is not None
        process.stdin.write(machine.model.model_dump_json().encode())
        process.stdin.close()
        deadline = time.monotonic() + 900
        logs = tree.parent / "cache/builds"
        while not any("main.o" in log.read_text() for log in logs.glob("*/build.log")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    assert not list((tree.parent / "cache/kernels").glob("directory*"))
    (tree / "Makefile").write_text(_TREE["Makefile"])
    assert compiled(build(tree, machine)) == ["main.o", "vm_fault.o"]
