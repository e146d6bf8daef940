# SPDX-License-Identifier: BSD-2-Clause
"""`harness run`'s options as a target of one arm, and what is wrong with them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import PROJECT

from harness.errors import UsageError
from harness.plan.load import load_guest
from harness.plan.run import RunOrder, run_target, target_of
from harness.systems.registry import SYSTEMS

GUEST = load_guest(PROJECT, "linux-x86_64")
PLAIN = "int main(void) { return 0; }\n"
PROTOCOL = '#include "harness_workload.h"\n' + PLAIN


def model_of(**order: Any) -> Any:
    return target_of(RunOrder(GUEST, **order)).model


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    (tmp_path / "repro.c").write_text(PLAIN)
    return tmp_path / "repro.c"


def test_without_anything_the_guest_s_own_kernel_is_idle() -> None:
    model = model_of()
    recipe = model.kernels["run"]["linux-x86_64"]
    assert recipe.package == GUEST.model.kernel.package
    assert "sleep" in model.workload.plain.command
    assert {s.ending[0] for s in model.symptom} == {"crashed", "hung", "failed"}


def test_what_was_asked_for_is_read_back_from_a_plan(plain: Path) -> None:
    target = target_of(
        RunOrder(
            GUEST, kernel=plain, append=["quiet"], workload=plain, arguments=["a b", "{seed}"],
            failpoints=["f:after(g)=20%delay(5000)"], marks=["workload:begin"],
            orders=["hold=f until=workload:done vcpu=0 until_vcpu=1 count=7 timeout_ms=50"],
            crashes=["KASAN"], symptoms=["lost"], must_end=True, seconds=5, trials=3,
        )
    )  # fmt: skip
    model = target.model
    assert run_target(model.model_dump(mode="json", exclude_unset=True)).model == model
    assert model.kernels["run"]["linux-x86_64"].file == str(plain)
    assert model.kernels["run"]["linux-x86_64"].append == ["quiet"]
    assert model.workload.plain.command == "exec {workload} 'a b' '{seed}'"
    assert [(p.name, p.at) for p in model.place] == [
        ("place-1", "f:after(g)"),
        ("place-2", "f"),
        ("place-3", "workload:done"),
        ("place-4", "workload:begin"),
    ]
    assert model.failpoint[0].do == "20%delay(5000)"
    assert (model.order[0].until.count, model.order[0].until.vcpu, model.order[0].vcpu) == (7, 1, 0)
    assert model.arm[0].use == ["failpoint-1", "order-1"]
    assert [s.name for s in model.symptom] == ["crash KASAN", "output lost", "hung"]
    assert (model.budget.trials, model.budget.trial_seconds) == (3, 5)


def test_a_workload_with_the_harness_s_header_speaks_its_protocol(tmp_path: Path) -> None:
    source = tmp_path / "w.c"
    source.write_text(PROTOCOL)
    model = model_of(workload=source, arguments=["mode=free"])
    assert model.workload.plain is None
    assert model.workload.args == {"mode": "free"}


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"kernel": Path("no-such")}, "--kernel no-such"),
        ({"workload": Path("no-such.c")}, "--workload no-such.c"),
        ({"modules_folder": Path("m")}, "--modules-dir"),
        ({"arguments": ["x"]}, "--arg goes with --workload"),
        ({"failpoints": ["f"]}, "--failpoint f: expected PLACE=SETTING"),
        ({"failpoints": ["f=nonsense(3)"]}, "nonsense"),
        ({"failpoints": ["f:when(g)=delay(1)"]}, "f:when"),
        ({"orders": ["hold=f"]}, "--order hold=f: expected hold=PLACE"),
        ({"orders": ["hold=f until=g befor=3"]}, "expected hold=PLACE"),
        ({"orders": ["hold=f until=g count=many"]}, "many"),
        ({"orders": ["hold='f"]}, "--order hold='f"),
        ({"symptoms": ["("]}, "regular expression"),
        ({"crashes": ["("]}, "regular expression"),
    ],
)
def test_a_wrong_option_is_named(order: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as got:
        model_of(**order)
    assert message in str(got.value)


def test_modules_of_a_kernel_file_must_be_somewhere(plain: Path) -> None:
    with pytest.raises(UsageError, match="--modules-dir, or build them in"):
        model_of(kernel=plain, modules=["zram"])


def test_an_initramfs_of_the_user_s_takes_no_workload(plain: Path) -> None:
    with pytest.raises(UsageError, match="--workload and --setup cannot be used with --initrd"):
        model_of(initrd=plain, workload=plain, setup=["x"])
    assert model_of(initrd=plain).own_initrd == str(plain)


def test_a_script_is_no_workload(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text("#!/bin/sh")
    with pytest.raises(UsageError, match="expected a C file"):
        model_of(workload=tmp_path / "x.sh")


def test_a_program_needs_its_libraries_within() -> None:
    with pytest.raises(UsageError, match="link it with -static"):
        model_of(workload=Path(sys.executable).resolve())


def order_on(guest: str, **order: Any) -> RunOrder:
    loaded = load_guest(PROJECT, guest)
    return RunOrder(loaded, SYSTEMS[loaded.model.system].run_offer, **order)


def freebsd(**order: Any) -> Any:
    return target_of(order_on("freebsd-amd64", **order)).model


def test_a_freebsd_kernel_and_its_fail_points(plain: Path) -> None:
    model = freebsd(
        kernel=plain, workload=plain, append=["hw.physmem=80M"], setup=["mdconfig 16"],
        failpoints=["sysctl debug.fail_point.fault=50%sleep(10)", "sysctl  other=pause[pid 7]",
                    "vm_fault:return=1*delay(5)", "gdb vm_fault=return(5)"],
    )  # fmt: skip
    assert model.kernels["run"]["freebsd-amd64"].file == str(plain)
    assert model.kernels["run"]["freebsd-amd64"].append == ["hw.physmem=80M"]
    assert model.userland.setup == ["mdconfig 16"]
    assert [(f.mechanism, f.point or f.place, f.do) for f in model.failpoint] == [
        ("sysctl", "debug.fail_point.fault", "50%sleep(10)"),
        ("sysctl", "other", "pause[pid 7]"),
        ("plugin", "place-1", "1*delay(5)"),
        ("gdb", "place-2", "return(5)"),
    ]
    assert [place.at for place in model.place] == ["vm_fault:return", "vm_fault"]
    assert model.arm[0].use == [f"failpoint-{n}" for n in (1, 2, 3, 4)]


def test_linux_fail_points_by_name() -> None:
    model = model_of(failpoints=["hook swapin_read=50%sleep(5)", "debugfs failslab=20%return"])
    assert [(f.mechanism, f.point) for f in model.failpoint] == [
        ("hook", "swapin_read"),
        ("debugfs", "failslab"),
    ]


def test_a_tree_is_built_with_the_base_and_what_is_given(plain: Path, tmp_path: Path) -> None:
    tree = {"directory": str(tmp_path), "git": None, "ref": None}
    assert freebsd(source=tree).kernels["run"]["freebsd-amd64"].source.config == []
    model = freebsd(source=tree, config=[plain])
    source = model.kernels["run"]["freebsd-amd64"].source
    assert (source.directory, source.config) == (str(tmp_path), [str(plain)])
    target = run_target(model.model_dump(mode="json", exclude_unset=True))
    assert target.model == model
    assert target.folder / source.config[0] == plain  # found from wherever the campaign goes on
    (tmp_path / "mach.c").write_text('#include "mach.h"\n')
    mach = target_of(order_on("gnumach-x86_64", source=tree, workload=tmp_path / "mach.c")).model
    assert mach.kernels["run"]["gnumach-x86_64"].source.config == ["smp-kdb.configure"]
    linux = order_on("linux-x86_64", source=tree, config=[Path("kasan.config"), plain])
    recipe = target_of(linux).model.kernels["run"]["linux-x86_64"]
    assert recipe.source is not None
    assert recipe.source.config == ["kasan.config", str(plain)]  # the first is the harness's own


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({}, r"freebsd-amd64 has no kernel of its own: give --kernel \(FreeBSD: a build's kernel"),
        (
            {"initrd": Path("i")},
            "--initrd: the guest freebsd-amd64 is a FreeBSD guest: there is no",
        ),
        ({"modules": ["zram"]}, "--modules: the guest freebsd-amd64 is a FreeBSD guest: it loads"),
        ({"modules_folder": Path("m")}, "--modules-dir: the guest freebsd-amd64 is a FreeBSD"),
        ({"kernel": PROJECT}, "is a folder: name the file in it"),
        ({"source": {}, "kernel": Path(__file__)}, "--source builds a kernel, and --kernel is one"),
        ({"config": [Path(__file__)]}, "--config says how --source is built"),
        (
            {"source": {}, "config": [Path("kasan.config")]},
            "--config kasan.config: there is no such",
        ),
        ({"failpoints": ["hook x=off"]}, "a freebsd guest has no mechanism 'hook'; it has: sysctl"),
        ({"failpoints": ["debug.fail_point.x=off"]}, "write 'sysctl debug.fail_point.x=off'"),
        ({"failpoints": ["sysctl x="]}, "expected PLACE=SETTING"),
        (
            {"kernel": Path(__file__), "failpoints": ["sysctl x=1%sleep(1us)"]},
            r"--failpoint sysctl x=1%sleep\(1us\): do: ",
        ),
        (
            {"kernel": Path(__file__), "failpoints": ["sysctl x=off[vcpu 0]"]},
            r"--failpoint sysctl x=off\[vcpu 0\]: .*vcpu filter: the FreeBSD sysctl does not",
        ),
    ],
)
def test_what_a_freebsd_guest_has_not_is_named(order: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        freebsd(**order)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({}, "runs nothing but a C file that includes mach.h; give one"),
        ({"workload": "plain.c"}, "plain.c does not"),
        ({"workload": "mach.c", "command": "x"}, "--command: the guest gnumach-x86_64 is a GNU"),
        ({"workload": "mach.c", "setup": ["x"]}, "--setup: .*nothing but the workload"),
        ({"workload": "mach.c", "arguments": ["x"]}, "a workload with mach.h takes KEY=VALUE"),
        ({"workload": "mach.c", "failpoints": ["sysctl x=off"]}, "it has: plugin, gdb"),
    ],
)
def test_what_a_gnu_mach_guest_has_not_is_named(
    tmp_path: Path, order: dict[str, Any], message: str
) -> None:
    (tmp_path / "plain.c").write_text(PLAIN)
    (tmp_path / "mach.c").write_text('#include "mach.h"\n')
    (tmp_path / "gnumach").write_text("")
    if "workload" in order:
        order = order | {"workload": tmp_path / order["workload"]}
    with pytest.raises(UsageError, match=message):
        target_of(order_on("gnumach-x86_64", kernel=tmp_path / "gnumach", **order))


def test_a_program_of_another_system_or_machine_is_refused(tmp_path: Path) -> None:
    source, program = tmp_path / "p.c", tmp_path / "p"
    source.write_text("void _start(void) { }\n")
    argv = [os.environ.get("CC", "cc"), "-nostdlib", "-static", "-o", str(program), str(source)]
    subprocess.run(argv, check=True, capture_output=True)
    target_of(order_on("linux-x86_64", workload=program))
    with pytest.raises(UsageError, match=r"is no program for FreeBSD, which the guest freebsd-amd"):
        freebsd(kernel=source, workload=program)
    with pytest.raises(UsageError, match="is a program for EM_X86_64, and the guest linux-arm64"):
        target_of(order_on("linux-arm64", workload=program))
    marked = bytearray(program.read_bytes())
    marked[7] = 9  # EI_OSABI, FreeBSD's
    program.write_bytes(marked)
    assert freebsd(kernel=source, workload=program).workload.program == str(program)
    with pytest.raises(UsageError, match="is no program for Linux"):
        target_of(order_on("linux-x86_64", workload=program))
