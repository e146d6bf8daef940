# SPDX-License-Identifier: BSD-2-Clause
"""`harness run`'s options as a target of one arm, and what is wrong with them."""

import sys
from pathlib import Path
from typing import Any

import pytest
from running import PROJECT

from harness.errors import UsageError
from harness.plan.load import load_guest
from harness.plan.run import RunOrder, run_target, target_of

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
