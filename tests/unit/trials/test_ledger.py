# SPDX-License-Identifier: BSD-2-Clause
"""The ledger: no finished line is ever lost, nothing half-written stays, damage is named."""

import errno
import json
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import ExitCode, InfrastructureError
from harness.trials.ledger import open_ledger, read_lines

LINES = [
    {"arm": "buggy", "number": 1, "block": 0, "verdict": "reproduced", "reason": "ü\n\r\u2028"},
    {"arm": "fixed", "number": 1, "block": 0, "verdict": "survived", "x": [1, {"y": None}]},
    {"arm": "buggy", "number": 2, "block": 1, "verdict": "void", "reason": ""},
]


def written(path: Path) -> bytes:
    with open_ledger(path) as ledger:
        for line in LINES:
            ledger.append(line)
    return path.read_bytes()


def test_lines_come_back(tmp_path: Path) -> None:
    written(tmp_path / "ledger")
    with open_ledger(tmp_path / "ledger") as ledger:
        assert ledger.lines == LINES


def test_cut_at_every_byte_no_finished_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    whole = written(path)
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        finished = whole[:size].count(b"\n")
        with open_ledger(path) as ledger:
            assert ledger.lines == LINES[:finished]
            ledger.append(LINES[2])
        with open_ledger(path) as ledger:
            assert ledger.lines == [*LINES[:finished], LINES[2]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1), st.binary(max_size=30).filter(lambda junk: b"\n" not in junk))
def test_damage_before_the_end_names_the_line(tmp_path: Path, at: int, junk: bytes) -> None:
    path = tmp_path / "ledger"
    path.unlink(missing_ok=True)
    rows = written(path).splitlines(keepends=True)
    damaged = junk + b"#\n"
    content = b"".join([*rows[:at], damaged, *rows[at + 1 :]])
    with pytest.raises(InfrastructureError, match=f"line {at + 1} is damaged") as caught:
        read_lines(path, content)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == ExitCode.INFRASTRUCTURE


@pytest.mark.parametrize("junk", [b"{}\n", b'{"arm": "buggy"}\n', b"[" * 10_000 + b"\n"])
def test_a_line_that_is_no_trial_is_damage_too(tmp_path: Path, junk: bytes) -> None:
    rows = written(tmp_path / "ledger").splitlines(keepends=True)
    with pytest.raises(InfrastructureError, match="line 2 is damaged"):
        read_lines(tmp_path / "ledger", rows[0] + junk + rows[2])


def test_zeros_at_the_end_are_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    whole = written(path)
    path.write_bytes(whole + bytes(512))
    with open_ledger(path) as ledger:
        assert ledger.lines == LINES
    assert path.read_bytes() == whole


@pytest.mark.parametrize("fits", [0, 1, 7])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_adds_nothing_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: int, code: int
) -> None:
    path = tmp_path / "ledger"
    with open_ledger(path) as ledger:
        ledger.append(LINES[0])
        before = path.read_bytes()
        real, calls = os.write, []

        def full(descriptor: int, data: bytes) -> int:
            calls.append(data)
            if len(calls) > 1 or not fits:
                raise OSError(code, os.strerror(code))
            return real(descriptor, data[:fits])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(InfrastructureError, match="go on with --resume") as caught:
            ledger.append(LINES[1])
        monkeypatch.undo()
        assert caught.value.exit_code == ExitCode.INFRASTRUCTURE
        assert ("free some space" in str(caught.value)) == (code != errno.EIO)
        assert path.read_bytes() == before
        assert ledger.lines == LINES[:1]
        ledger.append(LINES[1])
    assert [json.loads(row) for row in path.read_bytes().splitlines()] == LINES[:2]


def test_a_failed_sync_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger"

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "broken")

    with open_ledger(path) as ledger:
        monkeypatch.setattr(os, "fsync", fails)
        with pytest.raises(InfrastructureError):
            ledger.append(LINES[0])
    assert path.read_bytes() == b""


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:3])))
    content = written(tmp_path / "ledger")
    assert [json.loads(row) for row in content.splitlines()] == LINES


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "campaign" / "ledger"
    path.parent.mkdir()
    with (
        open_ledger(path),
        pytest.raises(InfrastructureError, match="another harness") as caught,
        open_ledger(path),
    ):
        pass
    assert "campaign" in str(caught.value)
    with open_ledger(path):
        pass  # the lock went with its holder


def _hold_and_die(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.append(LINES[0])
        os._exit(0)


def test_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(
        target=_hold_and_die, args=(tmp_path / "ledger",)
    )
    child.start()
    child.join(10)
    with open_ledger(tmp_path / "ledger") as ledger:
        assert ledger.lines == LINES[:1]


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(InfrastructureError, match=r"cannot write .*nowhere"),
        open_ledger(tmp_path / "nowhere" / "ledger"),
    ):
        pass
