# SPDX-License-Identifier: BSD-2-Clause
"""Whether files of the user's own are those that a run was started with."""

from pathlib import Path

from running import PROJECT

from harness.plan.load import load_guest
from harness.plan.run import RunOrder, target_of
from harness.trials.prepare import Request
from harness.trials.start import inputs_hash


def hash_of(**more: object) -> str:
    guest = load_guest(PROJECT, "linux-x86_64")
    target = target_of(RunOrder(guest, **more))  # type: ignore[arg-type]
    return inputs_hash(Request(target, guest, PROJECT, Path("cache")))


def differs_once_changed(file: Path, **more: object) -> bool:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("one")
    before = hash_of(**more)
    assert hash_of(**more) == before
    file.write_text("another")
    return hash_of(**more) != before


def test_another_initramfs_is_noticed(tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.touch()
    assert differs_once_changed(initrd, initrd=initrd)


def test_another_program_and_its_headers_are_noticed(tmp_path: Path) -> None:
    program = tmp_path / "race.c"
    program.touch()
    assert differs_once_changed(program, workload=program)
    assert differs_once_changed(tmp_path / "race.h", workload=program)


def test_other_modules_are_noticed(tmp_path: Path) -> None:
    kernel, modules = tmp_path / "bzImage", tmp_path / "modules"
    kernel.touch()
    assert differs_once_changed(modules / "kernel/mm/x.ko", kernel=kernel, modules_folder=modules)
