# SPDX-License-Identifier: BSD-2-Clause
"""Errors of TOML files name the file, the key, the value and what would be right."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import CHAOS, PROJECT, make_project

from harness.errors import ConfigurationError, ExitCode, UsageError
from harness.plan.guest import GuestModel
from harness.plan.listing import list_targets
from harness.plan.load import guest_names, load_guest, load_target, target_names


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project itself, to be changed."""
    for folder in ("guest-configs", "failpoints"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    return tmp_path


def changed(project: Path, old: str, new: str) -> str:
    """What loading the main target says after one change of its text."""
    file = project / "failpoints" / "linux-swapin-aba" / "target.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as caught:
        load_target(project, "linux-swapin-aba")
    assert caught.value.exit_code == ExitCode.USAGE
    message = str(caught.value)
    assert str(file) in message
    return message


def test_every_target_and_guest_of_the_project_is_valid() -> None:
    assert "linux-swapin-aba" in target_names(PROJECT)
    for name in target_names(PROJECT):
        assert load_target(PROJECT, name).name == name
    for name in guest_names(PROJECT):
        assert load_guest(PROJECT, name).model.title
    listed = list_targets(PROJECT, lambda guest: None)
    assert {row.target for row in listed} == set(target_names(PROJECT))
    assert all(row.kernels and "nothing" not in row.kernels.values() for row in listed)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("linux-swapin-abba", "did you mean linux-swapin-aba"),
        ("zzz", "there are: .*linux-swapin-aba"),
        ("../failpoints/linux-swapin-aba", "linux-swapin-aba"),
        ("", "there are"),
    ],
)
def test_an_unknown_target_comes_with_a_suggestion(project: Path, name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"there is no target {name!r}.*{hint}"):
        load_target(project, name)


def test_an_unknown_guest_too(project: Path) -> None:
    with pytest.raises(
        UsageError, match=r"there is no guest 'linux-x86'.*did you mean linux-x86_64"
    ):
        load_guest(project, "linux-x86")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("program =", "progam =", ["workload.progam", "did you mean program?"]),
        ("timeout_ms = 150", "timout_ms = 150", ["timout_ms", "did you mean timeout_ms"]),
        ("count = 7", "cuont = 7", ["until.cuont", "did you mean count"]),
        ('suite = "bull', 'sweet = "bull', ["kernels.buggy.linux-x86_64.sweet", "suite"]),
        ("[budget]", "[budgit]", ["budgit", "did you mean budget?"]),
        ("timeout_ms = 150", 'timeout_ms = "x"', [".timeout_ms", "a valid number", "'x'"]),
        ("trials = 20", "trials = -1", ["budget.trials", "greater than 0", "found -1"]),
        ("confidence = 0.95", "confidence = 2", ["budget.confidence", "less than 1", "found 2"]),
        ('system = "linux"', 'system = "windows"', ["system", "'linux'", "found 'windows'"]),
        ('guests = ["', 'guests = [3, "', ["guests.0", "valid string", "found 3"]),
        ('use = ["victim-has-read"', 'use = ["victim-has-red"', ["arm buggy", "victim-has-red"]),
        ('hold = "page-read"', 'hold = "page-reed"', ["slot-came-round", "page-reed", "page-read"]),
        ('place = "page-read"', 'place = "nowhere"', ["slow-read", "'nowhere'", "page-read"]),
        ('mark = ["attempt-begins"]', 'mark = ["begin"]', ["mark", "'begin'", "attempt-begins"]),
        ('kernel = "buggy"', 'kernel = "bugy"', ["arm buggy", "'bugy'", "buggy, fixed"]),
        ('name = "fixed"', 'name = "mended"', ["'fixed'", "not defined"]),
        ('name = "fixed-free"', 'name = "fixed"', ["two arm", "named 'fixed'"]),
        ('at = "workload:round_done"', 'at = "round done!"', [".at", "expected the end"]),
        ('at = "workload:round_done"', "at = 3", [".at", "valid string", "found 3"]),
        ('do = "delay(5000)', 'do = "delax(5000)', ["failpoint.0.do", "delay", "delax(5000)"]),
        ('do = "delay(5000)', 'do = "return(5)', ["failpoint.0", "do: `return(5)", "gdb"]),
        ('workload = "lost update"', 'console = { kind = "xx" }', ["'xx'", "panic"]),
        ('workload = "lost update"', 'console = { title = "(" }', ["regular expression"]),
        ('workload = "lost update"', "", ["symptom.0", "one of"]),
        ('program = "swapin_aba.c"', 'program = "../x.c"', ["workload.program", "'../x.c'"]),
        ('package = "linux-image-5', 'packages = "linux-image-5', ["packages", "package"]),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named(project: Path, old: str, new: str, words: list[str]) -> None:
    message = changed(project, old, new)
    assert all(word in message for word in words), message
    assert "pydantic" not in message
    assert "function-after" not in message


@pytest.mark.parametrize("text", ["[", "a = ", "x = 1\nx = 2", "\x00", "[" * 5000, "a = [" * 5000])
def test_malformed_toml(project: Path, text: str) -> None:
    file = project / "failpoints" / "linux-swapin-aba" / "target.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="is not valid TOML") as caught:
        load_target(project, "linux-swapin-aba")
    assert str(file) in str(caught.value)


def test_a_file_that_is_no_text(project: Path) -> None:
    file = project / "guest-configs" / "linux-x86_64.toml"
    file.write_bytes(b"title = '\xff\xfe'")
    with pytest.raises(ConfigurationError, match="is not valid TOML"):
        load_guest(project, "linux-x86_64")


CHAOS_TEXT = (CHAOS / "target.toml").read_text()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, len(CHAOS_TEXT)),
    st.integers(0, 8),
    st.text(alphabet='"=[]{}\n.,a0-', max_size=4),
)
def test_any_small_damage_is_valid_or_told(tmp_path: Path, at: int, cut: int, insert: str) -> None:
    folder = tmp_path / "failpoints" / "chaos"
    folder.mkdir(parents=True, exist_ok=True)
    text = CHAOS_TEXT[:at] + insert + CHAOS_TEXT[at + cut :]
    (folder / "target.toml").write_text(text)
    try:
        load_target(tmp_path, "chaos")
    except ConfigurationError as error:
        assert str(folder / "target.toml") in str(error)


def test_the_listing_says_what_this_host_cannot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "p")
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = list_targets(project, lambda guest: None)
    assert [row.guest for row in rows] == ["linux-x86_64", "linux-x86_64-full"]
    assert all(row.why_not.startswith("qemu-system-x86_64 is not installed") for row in rows)
    for row in rows:
        (project / "guest-configs" / f"{row.guest}.toml").unlink()
    (row,) = list_targets(project, lambda guest: None)
    assert row.why_not == "no such guest config"


def test_the_listing_asks_the_guest_s_system_for_its_tools(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    for guest in (project / "guest-configs").glob("*.toml"):
        guest.write_text(guest.read_text().replace('qemu = "qemu-system-x86_64"', 'qemu = "true"'))
    asked = []

    def lacks(guest: GuestModel) -> str | None:
        asked.append(guest.is_full_image)
        return "no disk tools" if guest.is_full_image else None

    rows = list_targets(project, lacks)
    assert [row.why_not for row in rows] == [None, "no disk tools"]
    assert asked == [False, True]
