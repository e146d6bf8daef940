# SPDX-License-Identifier: BSD-2-Clause
"""GNU Mach kernels of the user's own: what is taken, and what is refused."""

import os
import subprocess
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, UsageError
from harness.systems.gnumach.own import own_gnumach


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    source, file = tmp_path / "k.c", tmp_path / "gnumach"
    source.write_text('const char version[] = "GNU Mach 1.8+git1";\nvoid _start(void) { }\n')
    argv = [os.environ.get("CC", "cc"), "-nostdlib", "-static", "-o", str(file), str(source)]
    subprocess.run(argv, check=True, capture_output=True)
    content = bytearray(file.read_bytes())
    content[18:20] = (62).to_bytes(2, "little")  # EM_X86_64, on whatever this was compiled
    file.write_bytes(content)
    return file


def test_a_kernel_is_taken_where_it_is(elf: Path) -> None:
    kernel = own_gnumach(elf, "x86_64")
    assert (kernel.label, kernel.release, kernel.image) == ("gnumach 1.8+git1", "1.8+git1", elf)


def test_what_is_refused(elf: Path, tmp_path: Path) -> None:
    text = tmp_path / "gnumach.gz"
    text.write_bytes(b"\x1f\x8b")
    other = tmp_path / "other"
    other.write_bytes(elf.read_bytes().replace(b"GNU Mach", b"GNU Bash"))
    with pytest.raises(UsageError, match="there is no kernel"):
        own_gnumach(tmp_path / "gone", "x86_64")
    with pytest.raises(ConfigurationError, match="expected GNU Mach's ELF file"):
        own_gnumach(text, "x86_64")
    with pytest.raises(ConfigurationError, match="is no GNU Mach"):
        own_gnumach(other, "x86_64")
    with pytest.raises(ConfigurationError, match="is a kernel for x86_64, and the guest is i386"):
        own_gnumach(elf, "i386")
