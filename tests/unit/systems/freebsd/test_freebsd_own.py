# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD kernels of the user's own: what is taken, and what is refused before a trial."""

import subprocess
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, HarnessError, InfrastructureError, UsageError
from harness.systems.freebsd.clang import find_clang
from harness.systems.freebsd.own import FULL_IMAGE, own_kernel

INVARIANTS, CHANNEL = "vm_page_object_busy_assert", "vtcon_modevent"
BEFORE_13 = "vm_page_object_lock_assert"
ROOT = ("ffs_mount", "mdstart_malloc")
BANNER = "FreeBSD 14.1-RELEASE-p3 OWN"
_LINUX_HEADER = bytes(56) + b"ARM\x64" + bytes(8)


def a_kernel(
    folder: Path,
    *functions: str,
    name: str = "kernel",
    target: str = "x86_64-unknown-freebsd13",
    strip: bool = False,
    banner: str = BANNER,
) -> Path:
    """An ELF program with functions of these names, static as most of a kernel's are."""
    try:
        clang = find_clang()
    except InfrastructureError as error:
        pytest.skip(str(error))
    code = folder / "kernel.c"
    code.write_text(
        f'const char version[] = "{banner}";\n'
        + "".join(
            f"__attribute__((used)) static int {f}(void) {{ return 1; }}\n" for f in functions
        )
        + "void _start(void) { }\n"
    )
    file = folder / name
    argv = [
        clang.program("clang"), f"--target={target}", "-nostdlib", "-static", "-fuse-ld=lld",
        f"--ld-path={clang.program('ld.lld')}", "-o", str(file), str(code),
    ]  # fmt: skip
    subprocess.run([*argv, *(["-Wl,-s"] if strip else [])], check=True, capture_output=True)
    return file


def test_a_kernel_is_taken_with_its_symbols(tmp_path: Path) -> None:
    file = a_kernel(tmp_path, INVARIANTS, CHANNEL, *ROOT)
    kernel = own_kernel(file, "x86_64", tmp_path / "cache")
    assert (kernel.release, kernel.label) == ("14.1-RELEASE-p3", "kernel 14.1-RELEASE-p3")
    assert kernel.image.read_bytes() == file.read_bytes()
    assert kernel.image.with_name("vmlinux").read_bytes() == file.read_bytes()
    assert own_kernel(file, "x86_64", tmp_path / "cache") == kernel


def test_arm64_takes_the_builds_image_and_its_elf_file(tmp_path: Path) -> None:
    elf = a_kernel(
        tmp_path, INVARIANTS, CHANNEL, *ROOT, name="kernel.full", target="aarch64-unknown-freebsd13"
    )
    image = tmp_path / "kernel.bin"
    image.write_bytes(_LINUX_HEADER + elf.read_bytes())  # with the same code in it
    kernel = own_kernel(image, "arm64", tmp_path / "cache")
    assert kernel.image.read_bytes() == image.read_bytes()
    assert kernel.image.with_name("vmlinux").read_bytes() == elf.read_bytes()
    with pytest.raises(ConfigurationError, match=r"give the build's kernel\.bin.*LINUX_BOOT_ABI"):
        own_kernel(elf, "arm64", tmp_path / "cache")
    elsewhere = elf.rename(tmp_path / "elsewhere")
    assert own_kernel(image, "arm64", tmp_path / "cache", vmlinux=elsewhere) == kernel
    with pytest.raises(UsageError, match=r"there is no kernel .*kernel\.full \(the same kernel's"):
        own_kernel(image, "arm64", tmp_path / "cache")
    with pytest.raises(UsageError, match=r"there is no kernel .*gone$"):
        own_kernel(image, "arm64", tmp_path / "cache", vmlinux=tmp_path / "gone")


def test_symbols_of_another_build_are_refused(tmp_path: Path) -> None:
    file = a_kernel(tmp_path, INVARIANTS, CHANNEL, *ROOT)
    other = a_kernel(tmp_path, INVARIANTS, CHANNEL, *ROOT, "more", name="kernel.full")
    stripped = a_kernel(tmp_path, INVARIANTS, CHANNEL, *ROOT, name="stripped", strip=True)
    with pytest.raises(ConfigurationError, match=r"kernel\.full is not of the same build as"):
        own_kernel(file, "x86_64", tmp_path / "cache", vmlinux=other)
    kernel = own_kernel(stripped, "x86_64", tmp_path / "cache", vmlinux=file)
    assert kernel.image.with_name("vmlinux").read_bytes() == file.read_bytes()


def test_invariants_had_another_function_before_13(tmp_path: Path) -> None:
    file = a_kernel(tmp_path, BEFORE_13, CHANNEL, *ROOT, banner="FreeBSD 11.0-RELEASE-p1")
    assert own_kernel(file, "x86_64", tmp_path / "cache").release == "11.0-RELEASE-p1"


def test_a_full_image_needs_disk_and_network_but_no_channel(tmp_path: Path) -> None:
    micro = a_kernel(tmp_path, INVARIANTS, CHANNEL, *ROOT)
    with pytest.raises(ConfigurationError) as caught:
        own_kernel(micro, "x86_64", tmp_path / "cache", FULL_IMAGE)
    for line in ("GEOM_PART_GPT", "MSDOSFS", "virtio_blk", "vtnet"):
        assert line in str(caught.value)
    assert "virtio_console" not in str(caught.value)


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        (
            [CHANNEL, *ROOT],
            "built without what a guest of the harness needs:\n  `options INVARIANTS`",
        ),
        ([INVARIANTS, *ROOT], "\n  `device virtio_console`"),
        ([INVARIANTS, CHANNEL, ROOT[1]], "\n  `options FFS`"),
        ([INVARIANTS, CHANNEL, ROOT[0]], "\n  `device md`"),
    ],
)
def test_one_without_what_a_guest_needs_is_refused(
    tmp_path: Path, functions: list[str], message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        own_kernel(a_kernel(tmp_path, *functions), "x86_64", tmp_path / "cache")
    assert message in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_one_without_symbols_is_refused(tmp_path: Path) -> None:
    stripped = a_kernel(tmp_path, INVARIANTS, CHANNEL, strip=True)
    with pytest.raises(ConfigurationError, match="has no symbols: whether it has INVARIANTS"):
        own_kernel(stripped, "x86_64", tmp_path / "cache")


def test_one_for_another_machine_is_refused(tmp_path: Path) -> None:
    arm64 = a_kernel(tmp_path, INVARIANTS, CHANNEL, target="aarch64-unknown-freebsd13")
    with pytest.raises(ConfigurationError, match="is a kernel for arm64, and the guest is x86_64"):
        own_kernel(arm64, "x86_64", tmp_path / "cache")


def test_what_is_no_kernel_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    program = a_kernel(tmp_path, INVARIANTS, CHANNEL, banner="hello")
    errors: list[tuple[Path, type[HarnessError], str]] = [
        (text, ConfigurationError, "expected a FreeBSD kernel's ELF file"),
        (program, ConfigurationError, "is no FreeBSD kernel"),
        (tmp_path / "gone", UsageError, "there is no kernel"),
    ]
    for file, kind, message in errors:
        with pytest.raises(kind, match=message):
            own_kernel(file, "x86_64", tmp_path / "cache")
