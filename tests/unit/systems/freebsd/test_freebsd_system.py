# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD as a system: what its micro-guests are booted with, and what they are refused."""

import asyncio
import shutil
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from harness.errors import ConfigurationError
from harness.kernels.kernel import Kernel
from harness.places.symbols import SymbolTable
from harness.plan.guest import GuestModel
from harness.plan.kernel import KernelRecipe
from harness.plan.load import load_guest
from harness.plan.needs import TargetUserlandModel
from harness.systems.base import GuestImage, ImageOrder, WorkloadOrder
from harness.systems.freebsd.program import compile_init
from harness.systems.freebsd.system import FreeBSD

PROJECT = Path(__file__).parents[4]
needs_tools = pytest.mark.skipif(
    any(shutil.which(program) is None for program in ("clang", "ld.lld", "makefs")),
    reason="no clang, ld.lld or makefs on this host (packages clang, lld, makefs)",
)


def guest(name: str = "freebsd-amd64") -> GuestModel:
    return load_guest(PROJECT, name).model


def a_kernel(folder: Path) -> Kernel:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "image").write_bytes(b"kernel")
    return Kernel("13.2 (race.conf)", "13.2-RELEASE", "0" * 64, folder / "image", None)


@needs_tools
def test_amd64_boots_the_shim_with_kernel_and_root_as_modules(tmp_path: Path) -> None:
    order = ImageOrder(
        guest(), a_kernel(tmp_path / "k,1"), TargetUserlandModel(setup=["mdconfig 64"]),
        append=("vm.collapse_2015=1",),
    )  # fmt: skip
    image = FreeBSD().build_image(order, tmp_path, print)
    argv = image.boot.argv()
    assert "/programs/freebsd-shim-" in argv[argv.index("-kernel") + 1]
    kernel, _, root = argv[argv.index("-initrd") + 1].rpartition(",")
    assert kernel == f"{tmp_path}/k,,1/image"
    assert root.endswith(".ufs")
    words = argv[argv.index("-append") + 1].split()
    assert words[0] == "--"
    assert words[-1] == "vm.collapse_2015=1"
    assert "debug.debugger_on_panic=0" in words
    assert image.setup == ("mdconfig 64",)


@needs_tools
def test_a_path_with_a_space_is_refused_since_qemu_would_cut_it(tmp_path: Path) -> None:
    order = ImageOrder(guest(), a_kernel(tmp_path / "my kernel"), TargetUserlandModel())
    with pytest.raises(ConfigurationError, match="whose path has a space"):
        FreeBSD().build_image(order, tmp_path, print)


@needs_tools
@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_workloads_of_the_project_compile_with_places_in_them(tmp_path: Path, arch: str) -> None:
    source = PROJECT / "workloads/cow_churn.c"
    model = guest("freebsd-amd64" if arch == "x86_64" else "freebsd-arm64")
    program = asyncio.run(FreeBSD().compile_workload(WorkloadOrder(source, model), tmp_path, print))
    (main,) = SymbolTable.read(program.read_bytes(), "workload").named("main")
    assert 0x7000_0000 <= main.address < 0x7100_0000


@needs_tools
@pytest.mark.parametrize(
    ("code", "lacks"),
    [
        ("#include <err.h>\n", True),
        ("int getloadavg(double *, int); int main(void) { return getloadavg(0, 0); }\n", True),
        ("int main(void) { return nothing; }\n", False),
    ],
)
def test_what_the_library_lacks_is_told_from_a_mistake(
    tmp_path: Path, code: str, lacks: bool
) -> None:
    source = tmp_path / "w.c"
    source.write_text(code)
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(FreeBSD().compile_workload(WorkloadOrder(source, guest()), tmp_path, print))
    assert ("small C library, which may lack that" in str(caught.value)) == lacks


@needs_tools
def test_a_workload_that_does_not_compile_is_the_targets_fault(tmp_path: Path) -> None:
    source = tmp_path / "wrong.c"
    source.write_text("int main(void) { return nothing; }\n")
    with pytest.raises(ConfigurationError, match=r"wrong\.c does not compile[\s\S]*nothing"):
        asyncio.run(FreeBSD().compile_workload(WorkloadOrder(source, guest()), tmp_path, print))


@needs_tools
def test_a_program_is_compiled_once(tmp_path: Path) -> None:
    program = compile_init("x86_64", tmp_path)
    before = program.stat().st_mtime_ns
    assert compile_init("x86_64", tmp_path) == program
    assert program.stat().st_mtime_ns == before
    assert compile_init("arm64", tmp_path) != program


@needs_tools
def test_programs_tell_their_release_in_a_note_that_is_not_the_last(tmp_path: Path) -> None:
    # release 15 does not look at the last one, and takes such a program for one of the nineties
    for arch in ("x86_64", "arm64"):
        with compile_init(arch, tmp_path).open("rb") as program:
            (notes,) = [s for s in ELFFile(program).iter_segments() if s["p_type"] == "PT_NOTE"]
            data = notes.data()
        version, *others = struct.iter_unpack("<3I8sI", data)
        assert version == (8, 4, 1, b"FreeBSD\0", 1302001)
        assert len(others) >= 1


def test_modules_are_refused(tmp_path: Path) -> None:
    order = ImageOrder(guest(), a_kernel(tmp_path), TargetUserlandModel(modules=["zfs"]))
    with pytest.raises(ConfigurationError, match="has no modules"):
        FreeBSD().build_image(order, tmp_path, print)


def test_a_recipe_without_a_source_is_refused(tmp_path: Path) -> None:
    recipe = KernelRecipe(package="freebsd-image", suite="sid")
    with pytest.raises(ConfigurationError, match="comes from source, or is a file"):
        FreeBSD().acquire_kernel(recipe, guest(), tmp_path, tmp_path, print)


def test_compiling_in_the_micro_guest_is_refused(tmp_path: Path) -> None:
    order = WorkloadOrder(tmp_path / "x.c", guest(), in_guest=True)
    with pytest.raises(ConfigurationError, match="has no compiler"):
        asyncio.run(FreeBSD().compile_workload(order, tmp_path, print))


def test_the_workload_is_started_with_its_seed_and_arguments(tmp_path: Path) -> None:
    order = ImageOrder(guest(), a_kernel(tmp_path), TargetUserlandModel())
    image = GuestImage(boot=None, setup=(), workload="/workload")  # type: ignore[arg-type]
    assert FreeBSD().workload_command(image, 7, {"mode": "a b"}) == ("/workload seed=7 'mode=a b'")
    assert FreeBSD().trial_start_command(9) == "trial 9"
    assert FreeBSD().symbols_file(order.kernel, tmp_path).name == "vmlinux"
