# SPDX-License-Identifier: BSD-2-Clause
"""File and line at the frames of a log, from programs that the host's compiler makes."""

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness.commands.symbolize import command as symbolize
from harness.errors import ConfigurationError
from harness.symbolize import SourceFrame, SourceLines, symbolize_lines

# the line numbers below are counted from the first line of this text
SOURCE = """\
static volatile int sink;
static void may_crash(int n)
{
	sink = 100 / n;
}
static inline __attribute__((always_inline)) void inner(int n)
{
	may_crash(n);
	sink = n;
}
static inline __attribute__((always_inline)) void outer(int n)
{
	inner(n + 1);
}
__attribute__((noinline)) int work(int n)
{
	outer(n);
	return sink;
}
int main(int argc, char **argv)
{
	return work(argc) + sink;
}
"""
TWIN = """\
static __attribute__((noinline, used)) int twin(int n)
{
	return n * 3 + n / 7 + (n << 4) + n % 11 + n % 13;
}
"""

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this host")


def build(folder: Path, *flags: str) -> Path:
    (folder / "crash.c").write_text(
        SOURCE.replace("static void", "static __attribute__((noinline)) void")
    )
    (folder / "twin.c").write_text(TWIN)
    (folder / "twin2.c").write_text("static __attribute__((used)) int twin(int n) { return n; }\n")
    files = ["crash.c", "twin.c", "twin2.c"]
    subprocess.run(
        ["gcc", "-O1", *flags, "-o", "program", *files], cwd=folder, check=True, timeout=60
    )
    return folder / "program"


@pytest.fixture(scope="module", params=["-gdwarf-4", "-gdwarf-5"])
def lines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SourceLines:
    return SourceLines.open(build(tmp_path_factory.mktemp("program"), request.param))


def call_site(lines: SourceLines) -> int:
    """The offset in `work` of the address behind its call of may_crash."""
    start, end = lines.symbols.extent("work")
    for offset in range(1, end - start):
        frames = lines.frames_at(start + offset - 1)
        if [(f.function, f.line) for f in frames] == [("inner", 8), ("outer", 13), ("work", 17)]:
            found = lines.frames_at(start + offset)
            if found and found[0].line != 8:
                return offset
    raise AssertionError("no call of may_crash in work")


def test_inlined_frames_innermost_first(lines: SourceLines) -> None:
    at = lines.symbols.address_of("work") + call_site(lines) - 1
    assert lines.frames_at(at) == (
        SourceFrame("inner", "crash.c", 8, True),
        SourceFrame("outer", "crash.c", 13, True),
        SourceFrame("work", "crash.c", 17, False),
    )


def test_a_log(lines: SourceLines) -> None:
    offset = call_site(lines)
    start, end = lines.symbols.extent("work")
    size = end - start
    log = [
        "[    1.5] RIP: 0010:main+0x0/0x20",
        "[    1.5] Call Trace:",
        f"[    1.5]  ? work+{offset:#x}/{size:#x}",
        f"[    1.5]  work+{offset:#x}/{size:#x} [module]",
        "[    1.5]  unknown+0x10/0x20",
        "nothing here",
    ]
    assert list(symbolize_lines(log, lines)) == [
        "[    1.5] RIP: 0010:main+0x0/0x20 crash.c:22",
        "[    1.5] Call Trace:",
        "[    1.5]  inner crash.c:8 [inline]",
        "[    1.5]  outer crash.c:13 [inline]",
        f"[    1.5]  ? work+{offset:#x}/{size:#x} crash.c:17",
        "[    1.5]  inner crash.c:8 [inline]",
        "[    1.5]  outer crash.c:13 [inline]",
        f"[    1.5]  work+{offset:#x}/{size:#x} crash.c:17 [module]",
        "[    1.5]  unknown+0x10/0x20",
        "nothing here",
    ]


def test_an_address_that_is_returned_to_is_of_the_call_before_it(lines: SourceLines) -> None:
    offset = call_site(lines)
    (first, *_) = symbolize_lines([f" work+{offset:#x}"], lines)
    assert first == " inner crash.c:8 [inline]"
    *_, last = symbolize_lines([f"pc : work+{offset:#x}"], lines)
    assert last != " inner crash.c:8 [inline]"


def test_a_panic_of_freebsd(lines: SourceLines) -> None:
    offset, start = call_site(lines), lines.symbols.address_of("work")
    frame = f"work() at work+{offset:#x}/frame 0xfffffe004301ab00"
    # arm64's kernel knows its exported functions only, and takes another one's name
    other = f"\t pc = {start + offset:#018x}  lr = 0x0000000000001130"
    first = f"\t pc = {start:#018x}  lr = {start + offset:#018x}"
    outside = "\t pc = 0xffff000000000001  lr = 0x0000000000001130"
    names = f"main() at work+{offset:#x}"
    assert list(symbolize_lines([frame, names, other, first, outside], lines)) == [
        "inner crash.c:8 [inline]",
        "outer crash.c:13 [inline]",
        f"{frame} crash.c:17",
        names,
        "\tinner crash.c:8 [inline]",
        "\touter crash.c:13 [inline]",
        f"{other}  work+{offset:#x} crash.c:17",
        f"{first}  work+0x0 crash.c:16",
        outside,
    ]
    *_, stopped = symbolize_lines(["Stopped at      main+0x0:\tmovq"], lines)
    assert stopped == "Stopped at      main+0x0 crash.c:22:\tmovq"


def test_functions_of_one_name_are_told_apart_by_their_size(lines: SourceLines) -> None:
    (one, other) = sorted(lines.symbols.functions("twin"), key=lambda s: s.size)
    assert lines.function_at("twin", 0, None) is None
    assert lines.function_at("twin", 0, other.size) == other
    assert lines.function_at("twin", other.size - 1, None) == other
    assert one.size < other.size


def test_nothing_is_known_outside_the_code(lines: SourceLines) -> None:
    assert lines.frames_at(0) == ()
    assert lines.frames_at(1 << 63) == ()


def test_without_a_table_of_addresses(tmp_path: Path) -> None:
    """As Clang leaves it."""
    program = build(tmp_path, "-g")
    subprocess.run(["objcopy", "--remove-section=.debug_aranges", program], check=True, timeout=60)
    lines = SourceLines.open(program)
    assert lines.frames_at(lines.symbols.address_of("work"))[-1].function == "work"


@given(st.lists(st.text(max_size=80), max_size=5))
def test_other_lines_stay_as_they_are(lines: SourceLines, log: list[str]) -> None:
    kept = [line for line in log if "+0x" not in line]
    assert list(symbolize_lines(kept, lines)) == kept


def test_the_command(tmp_path: Path) -> None:
    program = build(tmp_path, "-g")
    log = tmp_path / "console.log"
    log.write_bytes(b"\x1b[31mRIP: 0010:main+0x0/0x20\x1b[0m\r\n\xff\n")
    done = CliRunner().invoke(symbolize, [str(log), str(program)])
    assert (done.exit_code, done.output) == (0, "RIP: 0010:main+0x0/0x20 crash.c:22\n\ufffd\n")


def test_what_is_no_elf_file_or_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not an ELF file")
    (tmp_path / "empty").write_text("")
    for name, message in (
        ("text", "not a readable ELF"),
        ("empty", "cannot read"),
        ("no", "No such"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            SourceLines.open(tmp_path / name)
    with pytest.raises(ConfigurationError, match="build with -g"):
        SourceLines.open(build(tmp_path))
