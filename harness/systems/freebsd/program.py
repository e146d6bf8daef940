# SPDX-License-Identifier: BSD-2-Clause
"""Static programs for FreeBSD guests, compiled on the host with the harness's own C library."""

import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from harness.errors import ConfigurationError
from harness.kernels.toolchain import WORKLOAD_BASE
from harness.systems import agent
from harness.systems.freebsd.architecture import architecture
from harness.systems.freebsd.clang import Clang, find_clang

_FOLDER = Path(__file__).parent
_LIBRARY = _FOLDER / "libc"
_COMMON = (
    "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-ffreestanding", "-fno-pic",
    "-fno-stack-protector", "-fno-omit-frame-pointer", "-nostdlib", "-static",
    "-Wl,--build-id=none",
)  # fmt: skip
_SHIM = ("--target=i386-unknown-freebsd", "-march=i686", "-mno-sse", "-mno-mmx")


@dataclass(frozen=True)
class _Compilation:
    """One program: its sources, the other files that it depends on, and its own flags."""

    name: str
    sources: tuple[Path, ...]
    others: tuple[Path, ...]
    flags: tuple[str, ...]


def compile_shim(cache: Path) -> Path:
    """The multiboot shim that enters amd64 kernels. Raises InfrastructureError without a clang."""
    folder = _FOLDER / "shim"
    script = folder / "shim.ld"
    sources = (folder / "start.S", folder / "shim.c")
    flags = (*_SHIM, f"-Wl,-T,{script}")
    return _compiled(_Compilation("shim", sources, (script,), flags), cache)


def compile_init(arch: str, cache: Path) -> Path:
    """The micro-guest's init; `arch` is the harness's name. Raises HarnessError."""
    folder = _FOLDER / "init"
    what = _Compilation(
        f"init-{arch}",
        (*_library(), *agent.AGENT, *sorted(folder.glob("*.c"))),
        (*_headers(), *agent.headers(), *sorted(folder.glob("*.h"))),
        (*_program_flags(arch, folder), "-I", str(agent.INCLUDE)),
    )
    return _compiled(what, cache)


def compile_workload(source: Path, arch: str, cache: Path, flags: Sequence[str] = ()) -> Path:
    """A workload of one C file, its headers beside it, at fixed addresses; with symbols.

    Raises ConfigurationError with the compiler's message where the source is wrong,
    InfrastructureError without a clang.
    """
    more = (f"-Wl,--image-base={WORKLOAD_BASE:#x}", *flags)
    what = _Compilation(
        f"{source.stem}-{arch}",
        (*_library(), source),
        (*_headers(), *sorted(source.parent.glob("*.h"))),
        (*_program_flags(arch, source.parent), *more),
    )
    return _compiled(what, cache)


def is_freebsd_program(program: ELFFile) -> bool:
    """Whether FreeBSD's kernel takes it for its own (sys/kern/imgact_elf.c): by a mark or a note.

    Another one is refused as it is started (`ELF binary type "0" not known`).
    """
    if program["e_ident"]["EI_OSABI"] == "ELFOSABI_FREEBSD":
        return True
    sections = (section for section in program.iter_sections() if isinstance(section, NoteSection))
    return any(note["n_name"] == "FreeBSD" for notes in sections for note in notes.iter_notes())


def _program_flags(arch: str, include: Path) -> tuple[str, ...]:
    triple = architecture(arch).triple
    return (
        f"--target={triple}", "-nostdlibinc", "-isystem", str(_LIBRARY / "include"),
        "-I", str(include),
    )  # fmt: skip


def _library() -> list[Path]:
    return sorted((_LIBRARY / "src").glob("*.c"))


def _headers() -> list[Path]:
    return sorted(_LIBRARY.rglob("*.h"))


def _compiled(what: _Compilation, cache: Path) -> Path:
    clang = find_clang()
    program = cache / "programs" / f"freebsd-{what.name}-{_digest(what, clang)}"
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_name(f".{program.name}.{os.getpid()}")
    argv = [clang.program("clang"), f"--ld-path={clang.program('ld.lld')}", *_COMMON, *what.flags]
    done = subprocess.run(
        [*argv, "-o", str(unfinished), *map(str, what.sources)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        unfinished.unlink(missing_ok=True)
        raise ConfigurationError(
            f"{what.sources[-1]} does not compile for FreeBSD:\n{done.stderr.strip()}"
        )
    unfinished.rename(program)
    return program


def _digest(what: _Compilation, clang: Clang) -> str:
    digest = hashlib.sha256(clang.version.encode())
    digest.update("\0".join((*_COMMON, *what.flags)).encode())
    for file in (*what.sources, *what.others):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
