# SPDX-License-Identifier: BSD-2-Clause
"""Files and cache folders are there whole or not at all."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.files import disk_errors_named, file_hash, make_folder_once, write_atomically


def test_a_file_replaces_the_old_one(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"old")
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_failure_keeps_the_old_one_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_atomically(tmp_path / "file", b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os if step == "fsync" else Path, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", b"new")
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_filled_once(tmp_path: Path) -> None:
    filled = []

    def fill(folder: Path) -> None:
        filled.append(folder)
        (folder / "x").write_text("x")

    folder = make_folder_once(tmp_path / "deep" / "cache", fill)
    assert make_folder_once(folder, fill) == folder
    assert len(filled) == 1
    assert [path.name for path in folder.parent.iterdir()] == ["cache"]


def test_a_folder_that_could_not_be_filled_is_not_there(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise InfrastructureError("no network")

    with pytest.raises(InfrastructureError):
        make_folder_once(tmp_path / "cache", fill)
    assert list(tmp_path.iterdir()) == []


def test_a_race_for_a_folder_has_one_winner(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "x").write_text("mine")
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "x").write_text("theirs")

    assert (make_folder_once(tmp_path / "cache", fill) / "x").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_hash(tmp_path: Path) -> None:
    data = b"x" * (3 << 20) + b"y"
    (tmp_path / "file").write_bytes(data)
    assert file_hash(tmp_path / "file") == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "free some space"), (errno.EDQUOT, "free some"), (errno.EACCES, "mend that")],
)
def test_disk_errors_say_what_to_do(code: int, words: str) -> None:
    with (
        pytest.raises(InfrastructureError, match=f"cannot write /results: .*{words}.*--resume"),
        disk_errors_named(Path("/results")),
    ):
        raise OSError(code, os.strerror(code))
