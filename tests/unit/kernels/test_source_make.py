# SPDX-License-Identifier: BSD-2-Clause
"""What a host lacks, and the first error in a build's output."""

from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.kernels.kbuild.architecture import architecture
from harness.kernels.kbuild.make import build_environment, compiler_identity
from harness.kernels.kbuild.requirements import missing_packages, require_tools
from harness.kernels.source.process import first_error

_COMPILATION = """\
  CC      mm/filemap.o
  CC      mm/memory.o
/s/mm/memory.c: In function 'do_swap_page':
/s/mm/memory.c:3298:9: error: 'pagee' undeclared (first use in this function)
 3298 |         pagee = NULL;
      |         ^~~~~
make[2]: *** [scripts/Makefile.build:286: mm/memory.o] Error 1
make[1]: *** [/s/Makefile:1832: mm] Error 2
  CC      fs/open.o
/s/fs/open.c:1:2: error: the second error
"""
_LINK = """\
  LD      .tmp_vmlinux.kallsyms1
ld: mm/memory.o: in function `do_swap_page':
memory.c:(.text+0x1f2): undefined reference to `nobody'
make[1]: *** [/s/Makefile:1205: vmlinux] Error 1
"""


def test_the_first_error_comes_with_its_surroundings() -> None:
    excerpt = first_error(_COMPILATION)
    assert "In function 'do_swap_page'" in excerpt
    assert "error: 'pagee' undeclared" in excerpt
    assert "^~~~~" in excerpt
    assert "mm/filemap.o" in excerpt


def test_the_linkers_error_names_the_symbol() -> None:
    assert "undefined reference to `nobody'" in first_error(_LINK)


def test_without_a_known_error_the_end_is_shown() -> None:
    log = "".join(f"  CC      file{number}.o\n" for number in range(100))
    assert first_error(log).splitlines()[-1].strip() == "CC      file99.o"
    assert len(first_error(log).splitlines()) == 15


def test_a_silent_make() -> None:
    assert "said nothing" in first_error("")


def test_everything_that_is_missing_is_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfrastructureError) as caught:
        require_tools("gcc-10", architecture("x86_64"))
    first, command, other = str(caught.value).splitlines()
    assert "flex (flex)" in first
    assert "xz (xz-utils)" in first
    assert command.split()[:2] == ["apt-get", "install"]
    assert {"binutils", "bison", "gcc", "gcc-10", "make"} <= set(command.split()[2:])
    assert other == "  or name another compiler: `compiler` in the recipe, else the variable CC"


@pytest.mark.parametrize(
    ("arch", "host", "compiler", "package"),
    [
        ("x86_64", "x86_64", "gcc-9", "gcc-9"),
        ("arm64", "x86_64", "aarch64-linux-gnu-gcc-9", "gcc-9-aarch64-linux-gnu"),
        ("x86_64", "aarch64", "x86_64-linux-gnu-gcc-9", "gcc-9-x86-64-linux-gnu"),
    ],
)
def test_a_compiler_that_is_missing_is_named_with_its_package(
    arch: str, host: str, compiler: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: host)
    with pytest.raises(InfrastructureError, match=rf"{compiler} \({package}\)") as caught:
        compiler_identity(compiler, architecture(arch))
    assert "or name another compiler" in str(caught.value)


def test_a_compiler_that_does_not_work(tmp_path: Path) -> None:
    for compiler in ("/bin/false", str(tmp_path / "gcc")):
        with pytest.raises(InfrastructureError) as caught:
            compiler_identity(compiler, architecture("x86_64"))
        assert f"`{compiler} --version` does not work" in str(caught.value)
        assert "name another in the recipe (`compiler`) or the variable CC" in str(caught.value)


def test_headers_are_looked_for_with_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "gcc"
    program.write_text("#!/bin/sh\nread -r line\ncase $line in *gelf*) exit 1;; esac\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    missing = missing_packages("gcc", architecture("x86_64"))
    assert missing["gelf.h"] == "libelf-dev"
    assert "openssl/opensslv.h" not in missing


def test_little_of_the_users_environment_reaches_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAKEFLAGS", "ARCH", "KCFLAGS", "TARGET"):
        monkeypatch.setenv(name, "anything")
    monkeypatch.delenv("CCACHE_DIR", raising=False)
    environment = build_environment(tmp_path)
    assert {"MAKEFLAGS", "ARCH", "KCFLAGS", "TARGET"}.isdisjoint(environment)
    assert environment["CCACHE_DIR"] == str(tmp_path / "ccache")
    # it would rewrite paths behind -fmacro-prefix-map's back: `kernel BUG at ../source/mm/memory.c`
    assert "CCACHE_BASEDIR" not in environment
