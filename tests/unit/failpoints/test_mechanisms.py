# SPDX-License-Identifier: BSD-2-Clause
"""Tests of which mechanism can carry out which setting."""

import pytest

from harness.errors import ConfigurationError
from harness.failpoints.grammar import Action, parse_setting
from harness.failpoints.mechanisms import (
    MECHANISMS,
    TCG_PLUGIN,
    Mechanism,
    Modifier,
    refuse_unsupported,
)


@pytest.mark.parametrize(
    ("text", "mechanism"),
    [
        ("5%3*sleep(10)[pid 7]->.5%return(5)->off", "sysctl"),
        ("5%3*yield->print(1)->panic", "hook"),
        ("5%3*return(5)", "debugfs"),
        ("5%return->off", "debugfs"),
        (".5%3*sleep(10)[vcpu 1]->off", "plugin"),
        ("3*delay(10)->5%pause->yield", "plugin"),
        (".5%3*return(-5)[vcpu 1]->print", "gdb"),
        *(("off", name) for name in MECHANISMS),
    ],
)
def test_supported_setting_passes(text: str, mechanism: str) -> None:
    refuse_unsupported(parse_setting(text), mechanism, "target.toml: failpoint.x.do")


@pytest.mark.parametrize(
    ("text", "mechanism", "says"),
    [
        ("sleep(1)[vcpu 1]", "sysctl", "vcpu filter: the FreeBSD sysctl .*use \\[pid N\\]"),
        ("->".join(["1*off"] * 21), "sysctl", "21 terms.*at most 20"),
        (
            "->".join(["12.3456%1234567*return(-1234567890)[pid 1234567890]"] * 20),
            "hook",
            "at most 1023",
        ),
        (
            "->".join(["12.3456%1234567*return(-1234567890)[pid 1234567890]"] * 20),
            "sysctl",
            "at most 1022",
        ),
        ("sleep(1)", "debugfs", "sleep: .*make a function fail"),
        (".5%return", "debugfs", "fraction of a percent"),
        ("5%return->return(5)", "debugfs", "chain of terms"),
        ("return(5)", "plugin", "return: .*use the gdb"),
        ("sleep(5)[pid 1]", "plugin", r"pid filter: .*current process; use \[vcpu N\]"),
        ("->".join(["1*sleep(1)"] * 17), "plugin", "17 terms.*at most 16"),
        ("panic", "gdb", "panic: "),
        ("sleep(5)", "gdb", "sleep: .*use the plugin"),
        ("return[pid 7]", "debugfs", "pid filter: .*use `only_workload`"),
        ("off", "dtrace", "no failpoint mechanism 'dtrace'; expected one of sysctl, debugfs"),
    ],
)
def test_unsupported_setting_is_refused_by_name(text: str, mechanism: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        refuse_unsupported(parse_setting(text), mechanism, "target.toml: failpoint.x.do")
    assert str(caught.value).startswith("target.toml: failpoint.x.do: ")


def test_every_refusal_is_in_one_message() -> None:
    with pytest.raises(ConfigurationError) as caught:
        refuse_unsupported(parse_setting("return(1)[pid 5]->panic"), TCG_PLUGIN, "x")
    assert "return:" in str(caught.value)
    assert "pid filter:" in str(caught.value)


@pytest.mark.parametrize("mechanism", MECHANISMS.values(), ids=lambda m: m.name)
def test_what_is_not_supported_has_its_reason(mechanism: Mechanism) -> None:
    unsupported = {*Action, *Modifier} - mechanism.actions - mechanism.modifiers
    assert set(mechanism.why_not) == unsupported
