# SPDX-License-Identifier: BSD-2-Clause
"""Kernels built in a guest: what is sent there, what is done there, and what is said of mistakes.

The guest itself is tried by tests/guest/freebsd.
"""

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_freebsd import FakeFreeBSD

from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.kernel import Kernel
from harness.kernels.source.build import built_kernel
from harness.kernels.source.process import Progress, Step
from harness.kernels.source.tree import BuildFolder
from harness.paths import PROJECT
from harness.plan.guest import GuestModel
from harness.plan.load import Guest, load_guest
from harness.progress import Say
from harness.systems.freebsd import guest_builder as module
from harness.systems.freebsd.build_job import SCRIPT, BuildOrder
from harness.systems.freebsd.guest_builder import GuestBuildProgress, guest_builder
from harness.systems.freebsd.shipment import note_shipped, pack, plan_shipment

# notes what it was told, and leaves what FreeBSD's make does
_MAKE = """\
#!/bin/sh
echo "$@" > told
folder=$MAKEOBJDIRPREFIX$LAYOUT/sys/HARNESS
mkdir -p "$folder"
[ "$LAYOUT" != broken ] || { echo "x.c:1:1: error: no"; exit 2; }
cat src/sys/vm/*.c > "$folder/kernel"
cp "$folder/kernel" "$folder/$FULL"
"""


@pytest.fixture
def old_tree(freebsd: FakeFreeBSD) -> FakeFreeBSD:
    """A tree from before release 13, which has fewer options too."""
    (freebsd.tree / "tools/build/make.py").unlink()
    options = freebsd.tree / "sys/conf/options"
    options.write_text(options.read_text().replace("EARLY_AP_STARTUP", "OTHER"))
    freebsd.write("src/sys/conf/files", "dev/random/randomdev.c\toptional random\n")
    return freebsd


def the_guest(tmp_path: Path, **image: str | None) -> Guest:
    config = load_guest(PROJECT, "freebsd-amd64-full")
    data = config.model.model_dump()
    data["image"] |= {"url": None, "file": str(tmp_path / "disk.img"), "kernel": "/k"} | image
    return Guest("old", tmp_path / "old.toml", GuestModel.model_validate(data))


def build(fake: FakeFreeBSD, guest: Guest) -> Kernel:
    recipe = fake.recipe()
    builder = guest_builder(recipe, "x86_64", fake.target, guest, ())
    return built_kernel(recipe, builder, fake.target, fake.folder / "cache", fake.said.append)


def pretended(made: Callable[[BuildOrder], None]) -> Callable[..., None]:
    """In place of the process that boots the guest."""

    def run(step: Step, folder: BuildFolder, progress: Progress, say: Say) -> None:
        folder.objects.mkdir(parents=True, exist_ok=True)
        folder.log.write_text("--- vm_fault.o ---\n")
        made(BuildOrder(**json.loads(Path(step.argv[-1]).read_bytes())))

    return run


def test_the_order_names_all_that_the_guest_needs(
    old_tree: FakeFreeBSD, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = []

    def made(order: BuildOrder) -> None:
        orders.append(order)
        folder = Path(order.objects, "made")
        folder.mkdir()
        (folder / "kernel").write_text("kernel")
        (folder / "kernel.full").write_text("with symbols")

    monkeypatch.setattr(module, "run_step", pretended(made))
    monkeypatch.setattr(module, "missing_disk_tools", lambda: None)
    kernel = build(old_tree, the_guest(tmp_path))
    (order,) = orders
    assert GuestModel.model_validate_json(order.guest).image is not None
    assert (Path(order.source) / "sys/vm/vm_fault.c").is_file()
    text = Path(order.config).read_text()
    assert "options\tINVARIANTS\n" in text
    assert "device\trandom\n" in text
    assert "EARLY_AP_STARTUP" not in text
    assert "prefix-map" not in text
    assert any("are left out: EARLY_AP_STARTUP" in line for line in old_tree.said)
    assert kernel.image.read_text() == "kernel"
    assert kernel.image.with_name("vmlinux").read_text() == "with symbols"
    assert build(old_tree, the_guest(tmp_path)) == kernel
    assert len(orders) == 1


def test_nothing_is_kept_of_a_build_that_left_no_kernel(
    old_tree: FakeFreeBSD, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_step", pretended(lambda order: None))
    monkeypatch.setattr(module, "missing_disk_tools", lambda: None)
    with pytest.raises(InfrastructureError, match=r"but .*made/kernel is not there"):
        build(old_tree, the_guest(tmp_path))
    assert not list((old_tree.folder / "cache/kernels").glob("directory*"))


def test_an_option_of_the_target_that_the_tree_has_not_is_an_error(
    old_tree: FakeFreeBSD, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "missing_disk_tools", lambda: None)
    old_tree.write("target/race.conf", "options EARLY_AP_STARTUP\n")
    with pytest.raises(ConfigurationError, match=r"race\.conf:1: options EARLY_AP_STARTUP"):
        build(old_tree, the_guest(tmp_path))


def test_a_guest_that_cannot_build_is_refused(old_tree: FakeFreeBSD, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"old\.toml: .* needs `kernel` under \[image\]"):
        build(old_tree, the_guest(tmp_path, kernel=None))
    with pytest.raises(ConfigurationError, match=r"expected a FreeBSD guest with an \[image\]"):
        build(old_tree, load_guest(PROJECT, "freebsd-amd64"))
    with pytest.raises(ConfigurationError, match="in guests for x86_64 only"):
        guest_builder(old_tree.recipe(), "arm64", old_tree.target, the_guest(tmp_path), ())


def test_only_what_is_new_is_sent(tmp_path: Path) -> None:
    tree, record, archive = tmp_path / "tree", tmp_path / "record", tmp_path / "tar"
    for name, text in {"a.c": "a", "sys/b.c": "b", "sys/c.c": "c", "objects/x.o": "x"}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "link").symlink_to("a.c")
    os.link(tree / "a.c", tree / "hard.c")
    first = plan_shipment(tree, tree / "objects", record)
    assert first.changed == ("a.c", "hard.c", "link", "sys/b.c", "sys/c.c")
    pack(first, tree, {"HARNESS": b"ident"}, archive)
    with tarfile.open(archive) as packed:
        members = {member.name: member for member in packed}
        assert sorted(members) == [
            "HARNESS", "removed", "src/a.c", "src/hard.c", "src/link", "src/sys/b.c", "src/sys/c.c",
        ]  # fmt: skip
        assert members["src/link"].issym()
        hard = packed.extractfile("src/hard.c")
        assert hard is not None and hard.read() == b"a"
    note_shipped(first, record)
    assert plan_shipment(tree, tree / "objects", record).changed == ()
    (tree / "sys/b.c").write_text("longer")
    (tree / "sys/c.c").unlink()
    second = plan_shipment(tree, tree / "objects", record)
    assert (second.changed, second.removed) == (("sys/b.c",), ("sys/c.c",))


def test_what_a_kernel_is_not_made_of_stays_here(tmp_path: Path) -> None:
    used = ["Makefile", "contrib/bmake/make.c", "lib/clang/a.h", "libx/b.c", "sys/contrib/c.c"]
    for name in (*used, "contrib/README", "contrib/bmakes/d.c", "crypto/e.c", "lib/libc/f.c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert list(plan_shipment(tmp_path, tmp_path / "objects", tmp_path / "-").changed) == used


def test_before_the_first_object_the_progress_tells_the_stage() -> None:
    progress = GuestBuildProgress()
    assert progress.update(["--> booting the guest\n"]) == "booting the guest"
    assert progress.update(["--> make buildkernel\n", "===> HARNESS\n"]) == "make buildkernel"
    assert progress.update(["--- vm_fault.o ---\n"]) == "1 objects (vm_fault.o)"
    assert progress.update([]) == "1 objects (vm_fault.o)"


@pytest.mark.parametrize(
    ("layout", "full"),
    [("/harness-work/src/amd64.amd64", "kernel.full"), ("/harness-work/src", "kernel.debug")],
)
def test_what_is_done_in_the_guest(tmp_path: Path, layout: str, full: str) -> None:
    work, done = in_a_guest(tmp_path, layout, full)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (work / "made/kernel").read_text() == "int fault;\n"
    assert (work / "made/kernel.full").read_text() == "int fault;\n"
    assert not (work / "src/sys/vm/gone.c").exists()
    told = (work / "told").read_text().split()
    assert told[:2] == ["-C", f"{work}/src"]
    assert {"-j2", "-DNO_CLEAN", "KERNCONF=HARNESS", f"KERNCONFDIR={work}"} < set(told)
    assert told[-1] == "buildkernel"


@pytest.mark.parametrize(
    ("layout", "full", "message"),
    [
        ("broken", "kernel.full", "x.c:1:1: error: no"),
        ("/x", "kernel.odd", "error: the build has left no kernel.full in "),
    ],
)
def test_a_build_that_fails_in_the_guest(
    tmp_path: Path, layout: str, full: str, message: str
) -> None:
    work, done = in_a_guest(tmp_path, layout, full)
    assert done.returncode != 0
    assert message in done.stdout
    assert not (work / "made/kernel").exists()


def in_a_guest(
    tmp_path: Path, layout: str, full: str
) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """The guest's script, run here by sh with a make of ours."""
    work, programs = tmp_path / "work", tmp_path / "bin"
    for name, text in {
        "src/sys/vm/vm_fault.c": "int fault;\n", "src/sys/vm/gone.c": "gone", "HARNESS": "ident",
        "removed": "sys/vm/gone.c\n", "made/kernel": "of the last build",
    }.items():  # fmt: skip
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    programs.mkdir()
    (programs / "make").write_text(_MAKE)
    (programs / "make").chmod(0o755)
    done = subprocess.run(
        ["sh", str(SCRIPT), str(work), "HARNESS", "-j2"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{programs}:{os.environ['PATH']}", "LAYOUT": layout, "FULL": full},
    )
    return work, done
