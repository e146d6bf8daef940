# SPDX-License-Identifier: BSD-2-Clause
"""The multiboot shim: what it hands to a kernel, told by a small one of ours; and its refusals."""

import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from harness.systems.freebsd.clang import find_clang
from harness.systems.freebsd.program import compile_shim

HERE = Path(__file__).parent
TOOLS = ("clang", "ld.lld", "qemu-system-x86_64")
pytestmark = [
    pytest.mark.guest,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in TOOLS), reason=f"one of {TOOLS} is not here"
    ),
]
FLAGS = (
    *("--target=x86_64-unknown-freebsd13", "-O2", "-ffreestanding", "-fno-pic", "-mcmodel=kernel"),
    *("-mno-sse", "-mno-red-zone", "-fno-stack-protector", "-nostdlib", "-static"),
    *("-Wl,--image-base=0xffffffff80200000", "-Wl,--build-id=none"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shim")


@pytest.fixture(scope="module")
def probe(folder: Path) -> Path:
    clang = find_clang()
    kernel = folder / "probe"
    argv = [clang.program("clang"), f"--ld-path={clang.program('ld.lld')}", *FLAGS]
    subprocess.run([*argv, "-o", str(kernel), str(HERE / "probe.c")], check=True)
    return kernel


def boot(shim: Path, modules: str, append: str, memory: int = 192) -> list[str]:
    """The console's lines; the machine ends by itself."""
    done = subprocess.run(
        [
            "qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-m",
            str(memory), "-cpu", "qemu64", "-accel", "tcg", "-kernel", str(shim),
            *(("-initrd", modules) if modules else ()), "-append", append, "-serial", "stdio",
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.stdout.replace("\r", "").splitlines()


def values(lines: list[str], key: str) -> list[str]:
    return [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == key]


def test_a_kernel_is_handed_all_that_freebsds_loader_hands(folder: Path, probe: Path) -> None:
    root = folder / "root.ufs"
    root.write_bytes(b"CONTENTS" + b"." * 5000)
    lines = boot(
        compile_shim(folder),
        f"{probe},{root}",
        "-- boot_serial=YES   vfs.root.mountfrom=ufs:/dev/md0 last=1",
    )
    with probe.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab")["sh_size"]
    assert lines[-1] == "end"
    assert [int(n, 16) for n in values(lines, "paging") + values(lines, "bss")] == [1, 0]
    assert int(values(lines, "data")[0], 16) == 0x600DDA7A
    assert values(lines, "name") == ["kernel", "root"]
    assert values(lines, "type") == ["elf kernel", "mfs_root"]
    assert values(lines, "content") == ["CONTENTS"]
    assert values(lines, "env") == [
        "boot_serial=YES", "vfs.root.mountfrom=ufs:/dev/md0", "last=1",
    ]  # fmt: skip
    kernel_at, root_at = (int(n, 16) for n in values(lines, "addr"))
    kernel_size, root_size = (int(n, 16) for n in values(lines, "size"))
    assert kernel_at == 0x200000
    assert root_size == 5008
    assert int(values(lines, "symbols")[0], 16) == symbols
    esym, end = int(values(lines, "esym")[0], 16), int(values(lines, "kernend")[0], 16)
    assert kernel_at + kernel_size < esym <= root_at < root_at + root_size < end
    assert int(values(lines, "told")[0], 16) == end
    assert 180 << 20 < int(values(lines, "memory")[0], 16) < 192 << 20


def test_without_a_root_there_is_one_module(folder: Path, probe: Path) -> None:
    lines = boot(compile_shim(folder), str(probe), "--")
    assert values(lines, "name") == ["kernel"]
    assert values(lines, "env") == []


@pytest.mark.parametrize(
    ("modules", "complaint"),
    [
        ("", "no kernel: expected -initrd kernel,root"),
        ("{folder}/text", "the kernel is no ELF program for amd64"),
        ("{probe},{folder}/large", "kernel, symbols and root need more than 110 MiB"),
    ],
)
def test_what_it_cannot_start_it_says_and_ends(
    folder: Path, probe: Path, modules: str, complaint: str
) -> None:
    (folder / "text").write_text("no kernel at all, but a line of text\n" * 10)
    with (folder / "large").open("wb") as large:
        large.truncate(115 << 20)
    lines = boot(
        compile_shim(folder), modules.format(folder=folder, probe=probe), "-- a=b", memory=512
    )
    assert lines == [f"harness shim: {complaint}"]
