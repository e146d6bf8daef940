# SPDX-License-Identifier: BSD-2-Clause
"""GNU Mach from source: configure's options, MIG, and what is refused."""

import subprocess
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.source.builder import TreeKind
from harness.kernels.source.tree import BuildFolder
from harness.plan.kernel import SourceRecipe
from harness.systems.gnumach import builder as module
from harness.systems.gnumach.builder import GNU_MACH, gnumach_builder, own_configurations
from harness.systems.gnumach.mig import Mig, find_mig


def recipe(*config: str) -> SourceRecipe:
    return SourceRecipe(directory="tree", config=list(config))


@pytest.fixture(autouse=True)
def _tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiler and MIG are there, whatever the host has."""
    monkeypatch.setattr(module, "_require", lambda programs: None)
    monkeypatch.setattr(
        module, "find_mig", lambda cpu, cache, say: Mig("mig 1.8", cpu, Path("/bin/true"))
    )
    monkeypatch.setattr(module, "_first_line", lambda argv: "gcc 12")


def options(folder: Path, *config: str) -> tuple[str, ...]:
    return gnumach_builder(recipe(*config), "i386", folder, folder, print).options


def test_later_files_come_later_so_that_they_win(tmp_path: Path) -> None:
    (tmp_path / "mine.configure").write_text("--disable-kdb  # no debugger\n\n# nothing else\n")
    found = options(tmp_path, "smp-kdb.configure", "mine.configure")
    assert found.index("--enable-kdb") < found.index("--disable-kdb") == len(found) - 1


def test_a_file_of_the_target_goes_before_the_harnesss_own(tmp_path: Path) -> None:
    (tmp_path / "smp-kdb.configure").write_text("--enable-kdb\n")
    assert options(tmp_path, "smp-kdb.configure") == ("--enable-kdb",)


def test_a_missing_file_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"other\.configure.*no-kdb\.configure"):
        options(tmp_path, "other.configure")


@pytest.mark.parametrize("line", ["kdb", "--prefix=/", "CC=clang", "--enable-kdb; rm", "--enable-"])
def test_what_is_no_option_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "bad.configure").write_text(f"--enable-kdb\n{line}\n")
    with pytest.raises(ConfigurationError, match=r"bad\.configure:2: expected one of configure's"):
        options(tmp_path, "bad.configure")


def test_every_own_file_can_be_read(tmp_path: Path) -> None:
    assert own_configurations()
    for name in own_configurations():
        assert options(tmp_path, name)


def test_options_that_the_tree_does_not_know_are_refused() -> None:
    log = "checking for gcc\nconfigure: WARNING: unrecognized options: --enable-smp\n"
    with pytest.raises(ConfigurationError, match=r"does not know --enable-smp.*x\.configure"):
        module._refuse_unknown(log, [Path("x.configure")])
    module._refuse_unknown("configure: creating ./config.status\n", [])


def test_options_that_the_tree_does_not_know_are_refused_every_time(tmp_path: Path) -> None:
    folder = BuildFolder(tmp_path / "build")
    configure = folder.source / "configure"
    warning = "configure: WARNING: unrecognized options: --enable-smp"
    script(configure, f"echo '{warning}'; touch config.status")
    (tmp_path / "x.configure").write_text("--enable-smp\n")
    made = gnumach_builder(recipe("x.configure"), "i386", tmp_path, tmp_path, print)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="does not know --enable-smp"):
            made.build(folder, "gnumach", tmp_path, print)
        assert (folder.objects / "config.status").is_file()


def test_another_option_is_another_kernel(tmp_path: Path) -> None:
    keys = []
    for names in (["smp-kdb.configure"], ["smp-kdb.configure", "no-assertions.configure"]):
        made = gnumach_builder(recipe(*names), "i386", tmp_path, tmp_path, print)
        keys.append((made.ingredients, made.slot))
    assert keys[0][0] != keys[1][0]
    assert keys[0][1] != keys[1][1]


def test_trees_are_known_by_their_files(tmp_path: Path) -> None:
    kind: TreeKind = GNU_MACH
    with pytest.raises(ConfigurationError, match=r"is no GNU Mach tree: it has no configure\.ac"):
        kind.require_folder(tmp_path, "the folder")
    for mark in kind.marks:
        (tmp_path / mark).parent.mkdir(exist_ok=True)
        (tmp_path / mark).touch()
    kind.require_folder(tmp_path, "the folder")


def test_the_version_is_read_from_what_the_build_wrote(tmp_path: Path) -> None:
    file = tmp_path / "version.c"
    file.write_text('const char version[] = "GNU Mach 1.8+git20240405";\n')
    assert module._version(file) == "1.8+git20240405"
    assert module._version(tmp_path / "none") == "unknown"


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_an_installed_mig_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "bin/i686-gnu-mig", "echo 'i686-gnu-mig (GNU MIG) 1.8'")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    mig = find_mig("i686", tmp_path, print)
    assert mig.identity == "i686-gnu-mig (GNU MIG) 1.8"
    assert mig.install(tmp_path) == tmp_path / "bin/i686-gnu-mig"


@pytest.mark.parametrize("does", ["echo broken >&2; exit 3", "exit 3", "true"])
def test_an_installed_mig_that_does_not_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    script(tmp_path / "bin/i686-gnu-mig", does)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    status = "0" if does == "true" else "3"
    with pytest.raises(InfrastructureError, match=f"i686-gnu-mig --version` .* status {status}"):
        find_mig("i686", tmp_path, print)


@pytest.mark.parametrize("folder", ["plain", "with $(blanks) and 'quotes'"])
def test_a_packaged_mig_runs_by_the_loader_of_its_suite(tmp_path: Path, folder: str) -> None:
    tmp_path /= folder
    package, libc = tmp_path / "mig", tmp_path / "libc"
    # the package's script pipes into the program that -migcom names
    script(package / "usr/bin/i686-gnu-mig", 'test "$1" = -migcom && exec "$2" -user x.c')
    (package / "usr/lib/mig").mkdir(parents=True)
    script(libc / "usr/lib/ld-linux.so.2", "printf '%s\\n' \"$@\"")
    (libc / "usr/lib/i386-linux-gnu").mkdir()
    (libc / "usr/lib/i386-linux-gnu/libc.so.6").touch()
    mig = Mig("mig 1.8, libc6 2.41", "i686", None, package, libc)
    done = subprocess.run([mig.install(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "--library-path", str(libc / "usr/lib/i386-linux-gnu"),
        str(package / "usr/lib/mig/i686-gnu-migcom"), "-user", "x.c",
    ]  # fmt: skip


def test_a_package_without_a_loader_is_told(tmp_path: Path) -> None:
    mig = Mig("mig", "x86_64", None, tmp_path, tmp_path)
    with pytest.raises(InfrastructureError, match=r"has no ld-linux-x86-64\.so\.2"):
        mig.install(tmp_path)
