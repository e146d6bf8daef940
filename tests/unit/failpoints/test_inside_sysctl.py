# SPDX-License-Identifier: BSD-2-Clause
"""Tests of FreeBSD's fail points set by sysctl, against a guest that behaves as documented."""

import asyncio

import pytest
from fake_sysctls import FakeFreeBSD
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.failpoints.grammar import Action, Setting, Term, parse_setting
from harness.failpoints.inside import Reading, SysctlFailpoint


def failpoint(setting: str, point: str = "fault") -> SysctlFailpoint:
    return SysctlFailpoint("slow-fault", point, parse_setting(setting))


def set_on(guest: FakeFreeBSD, setting: str, point: str = "fault") -> Reading:
    return asyncio.run(failpoint(setting, point).set(guest))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("20%sleep(5)", "20%sleep(5)"),
        (".5%3*return(5)->delay(7)", "0.5%3*return(5)->delay(7)"),
        ("3*pause->off", "3*pause"),
        ("pause[pid 7]", "pause[pid 7]"),
        ("return", "return"),
        ("1.25%print(1)->yield->off", "1.25%print(1)->yield"),
        ("2*off->panic", "2*off->panic"),
        ("off", "off"),
    ],
)
def test_what_is_set_is_what_the_kernel_tells(setting: str, value: str) -> None:
    guest = FakeFreeBSD("fault")
    assert set_on(guest, setting).setting == "off"
    assert guest.values == {"debug.fail_point.fault": value}
    now = asyncio.run(failpoint(setting).read(guest))
    assert (now.setting, now.counters) == (value, {"sleeping_threads": 0, "paused_threads": 1})
    assert now.status.startswith(f"debug.fail_point.status_fault: {value}\nsleeping_thread_stacks")
    assert "at fail_point_eval_nontrivial+0x2f6" in now.status


def test_before_and_reset() -> None:
    guest = FakeFreeBSD("fault")
    set_on(guest, "1%return(5)")
    before = set_on(guest, "pause")
    assert before.setting == "1%return(5)"
    asyncio.run(failpoint("pause").reset(guest, before))
    assert guest.values == {"debug.fail_point.fault": "off"}


def test_one_command_sets_and_it_is_quoted_for_a_shell() -> None:
    guest = FakeFreeBSD("fault")
    set_on(guest, "1*sleep(1000)[pid 12]")
    assert "sysctl 'debug.fail_point.fault=1*sleep(1000)[pid 12]'" in guest.commands


def test_a_point_that_must_not_sleep_delays() -> None:
    guest = FakeFreeBSD("fault", nonsleepable=("fault",))
    set_on(guest, "5%sleep(3)")
    assert guest.values == {"debug.fail_point.fault": "5%delay(3000)"}


def test_an_unknown_name_lists_those_like_it() -> None:
    guest = FakeFreeBSD("vm_fault_cow", "buf_pressure")
    with pytest.raises(ConfigurationError, match=r"fail_point\.vm_fault_cov.*vm_fault_cow"):
        set_on(guest, "off", "vm_fault_cov")


def test_what_the_kernel_refuses_is_its_error() -> None:
    class Refusing(FakeFreeBSD):
        def _normalised(self, value: str, nonsleepable: bool) -> str | None:
            return None

    with pytest.raises(ConfigurationError, match=r"does not take `5%return\(1\)`: .*Invalid arg"):
        set_on(Refusing("fault"), "5%return(1)")


def test_another_setting_than_asked_for_is_an_error() -> None:
    class Forgetful(FakeFreeBSD):
        def _normalised(self, value: str, nonsleepable: bool) -> str | None:
            return "return(22)"

    with pytest.raises(ConfigurationError, match=r"set to `return\(5\)`.*reads `return\(22\)`"):
        set_on(Forgetful("fault"), "return(5)")


def test_a_count_that_has_gone_down_already_is_what_was_asked_for() -> None:
    class Hot(FakeFreeBSD):
        def _normalised(self, value: str, nonsleepable: bool) -> str | None:
            return "2*delay(3000)"

    set_on(Hot("fault"), "5*sleep(3)")
    with pytest.raises(ConfigurationError, match=r"reads `2\*delay\(3000\)`"):
        set_on(Hot("fault"), "1*sleep(3)")


def test_of_a_last_term_that_is_used_up_the_arrow_stays() -> None:
    class Hot(FakeFreeBSD):
        def _normalised(self, value: str, nonsleepable: bool) -> str | None:
            return "50%print->"

    set_on(Hot("fault"), "50%print->1*return(5)")
    with pytest.raises(ConfigurationError, match="reads `50%print`"):
        set_on(Hot("fault"), "50%print->return(5)")


def test_what_runs_into_a_fail_point_is_not_offered_for_one() -> None:
    with pytest.raises(ConfigurationError, match=r"similar: debug\.fail_point\.test_fail_point$"):
        set_on(FakeFreeBSD("test_fail_point"), "off", "test_fail_pint")


@pytest.mark.parametrize("setting", ["1*pause->return(1)", "50%off->return(1)"])
def test_what_freebsd_drops_is_refused(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="drops what stands behind a pause"):
        failpoint(setting)


def test_a_variable_elsewhere_is_named_whole() -> None:
    point = failpoint("off", "vfs.nfsd.debug.fail_point.commit")
    assert point.variable == "vfs.nfsd.debug.fail_point.commit"


_TIMED = (Action.SLEEP, Action.DELAY, Action.RETURN, Action.PRINT)
_TERMS = st.builds(
    lambda action, argument, ppm, count, pid: Term(
        action, argument if action in _TIMED else None, ppm, count, pid
    ),
    st.sampled_from([action for action in Action if action not in (Action.PAUSE, Action.OFF)]),
    st.integers(0, 2**31 - 1),
    st.integers(1, 1_000_000),
    st.none() | st.integers(1, 2**31 - 1),
    st.none() | st.integers(0, 99999),
)
_ENDS = st.sampled_from([Term(Action.OFF), Term(Action.PAUSE), Term(Action.OFF, count=3)])


@given(st.lists(_TERMS, max_size=8), _ENDS)
def test_every_setting_is_read_back_as_it_was_meant(terms: list[Term], end: Term) -> None:
    guest = FakeFreeBSD("fault")
    asyncio.run(SysctlFailpoint("x", "fault", Setting((*terms, end))).set(guest))
