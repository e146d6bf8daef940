# SPDX-License-Identifier: BSD-2-Clause
"""Static programs for FreeBSD guests, compiled on the host with the harness's own C library."""

from collections.abc import Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from harness.errors import ConfigurationError
from harness.kernels.toolchain import WORKLOAD_BASE
from harness.systems import agent
from harness.systems.compilation import Compilation, Compiler, compiled
from harness.systems.freebsd.architecture import architecture
from harness.systems.freebsd.clang import find_clang

_FOLDER = Path(__file__).parent
_LIBRARY = _FOLDER / "libc"
_COMMON = (
    "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-ffreestanding", "-fno-pic",
    "-fno-stack-protector", "-fno-omit-frame-pointer", "-nostdlib", "-static",
    "-Wl,--build-id=none",
)  # fmt: skip
_LACKS = ("file not found", "undefined symbol", "implicit declaration", "undeclared function")
_WHAT_IT_LACKS = (
    "it was compiled with the harness's small C library, which may lack that (docs/freebsd.md, "
    "Workloads); a full image compiles with its own (--compile guest), and harness run takes a "
    "program that was linked statically on FreeBSD"
)
_SHIM = ("--target=i386-unknown-freebsd", "-march=i686", "-mno-sse", "-mno-mmx")


def compile_shim(cache: Path) -> Path:
    """The multiboot shim that enters amd64 kernels. Raises InfrastructureError without a clang."""
    folder = _FOLDER / "shim"
    script = folder / "shim.ld"
    sources = (folder / "start.S", folder / "shim.c")
    flags = (*_SHIM, f"-Wl,-T,{script}")
    return _compiled(Compilation("freebsd-shim", sources, (script,), flags), cache)


def compile_init(arch: str, cache: Path) -> Path:
    """The micro-guest's init; `arch` is the harness's name. Raises HarnessError."""
    folder = _FOLDER / "init"
    what = Compilation(
        f"freebsd-init-{arch}",
        (*_library(), *agent.AGENT, *sorted(folder.glob("*.c"))),
        (*_headers(), *agent.headers(), *sorted(folder.glob("*.h"))),
        (*_program_flags(arch, folder), "-I", str(agent.INCLUDE)),
    )
    return _compiled(what, cache)


def compile_workload(source: Path, arch: str, cache: Path, flags: Sequence[str] = ()) -> Path:
    """A workload of one C file, its headers beside it, at fixed addresses; with symbols.

    Raises ConfigurationError with the compiler's message where the source is wrong, or asks for
    what the library lacks; InfrastructureError without a clang.
    """
    more = (f"-Wl,--image-base={WORKLOAD_BASE:#x}", *flags)
    what = Compilation(
        f"freebsd-{source.stem}-{arch}",
        (*_library(), source),
        (*_headers(), *sorted(source.parent.glob("*.h"))),
        (*_program_flags(arch, source.parent), *more),
    )
    try:
        return _compiled(what, cache)
    except ConfigurationError as error:
        if not any(sign in str(error) for sign in _LACKS):
            raise
        raise ConfigurationError(f"{error}\n{_WHAT_IT_LACKS}") from error


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


def _compiled(what: Compilation, cache: Path) -> Path:
    clang = find_clang()
    argv = (clang.program("clang"), f"--ld-path={clang.program('ld.lld')}")
    return compiled(what, Compiler(argv, clang.version, _COMMON, " for FreeBSD"), cache)
