# SPDX-License-Identifier: BSD-2-Clause
"""A guest with FreeBSD's fail points, as fail(9) and kern_fail.c's behaviour describe them."""

import re
import shlex

from harness.console.guest_channel import CommandResult

_TERM = re.compile(
    r"((?:\d*\.?\d+%|\d+\*)*)(off|return|sleep|panic|break|print|pause|yield|delay)"
    r"(?:\((-?(?:0x[0-9a-f]+|\d+))\)(?:\[pid (\d+)\])?)?"
)

STATUS = """\
sleeping_thread_stacks = {
},
sleeping_thread_count = 0,
paused_thread_stacks = {
--- thread 100047: init 0xfffffe006ec7b1e0: ---
#0 0xffffffff803a4de8 at mi_switch+0x148
#1 0xffffffff803ef62a at sleepq_switch+0xfa
#2 0xffffffff803a470e at msleep_spin_sbt+0xfe
#3 0xffffffff8035dd56 at fail_point_eval_nontrivial+0x2f6

},
paused_thread_count = 1
"""
"""What 13.2 tells of a point that one thread is paused at."""


class FakeFreeBSD:
    """Takes `sysctl NAME`, `sysctl NAME=VALUE` and `sysctl debug.fail_point`."""

    def __init__(self, *names: str, nonsleepable: tuple[str, ...] = ()) -> None:
        self.values = {f"debug.fail_point.{name}": "off" for name in names}
        self.nonsleepable = {f"debug.fail_point.{name}" for name in nonsleepable}
        self.commands: list[str] = []

    async def run(self, command: str) -> CommandResult:
        self.commands.append(command)
        program, argument = shlex.split(command)
        assert program == "sysctl"
        name, equals, value = argument.partition("=")
        if name == "debug.fail_point":
            text = "debug.fail_point.test_trigger_fail_point: \n"
            for key, value in self.values.items():
                parent, _, leaf = key.rpartition(".")
                text += f"{parent}.status_{leaf}: {value}\n{STATUS}\n{key}: {value}\n"
            return CommandResult(0, text.encode())
        parent, _, leaf = name.rpartition(".")
        if leaf.startswith("status_") and f"{parent}.{leaf[7:]}" in self.values:
            said = self.values[f"{parent}.{leaf[7:]}"]
            return CommandResult(0, f"{name}: {said}\n{STATUS}".encode())
        if name not in self.values:
            return CommandResult(1, f"sysctl: unknown oid '{name}'".encode())
        before = self.values[name]
        if equals:
            text = self._normalised(value, name in self.nonsleepable)
            if text is None:
                return CommandResult(1, f"sysctl: {name}={value}: Invalid argument".encode())
            self.values[name] = text
            return CommandResult(0, f"{name}: {before} -> {text}\n".encode())
        return CommandResult(0, f"{name}: {before}\n".encode())

    def _normalised(self, value: str, nonsleepable: bool) -> str | None:
        kept: list[str] = []
        ended = False
        terms = value.split("->")
        assert len(value) < 1023, "13.2 panics: userret: Returning with 1 locks held"
        if len(terms) > 20:
            return None
        for text in terms:
            match = _TERM.fullmatch(text)
            if match is None:
                return None
            modifiers, action, argument, pid = match.groups()
            number = int(argument or "0", 0)
            percents = re.findall(r"(\d*\.?\d+)%", modifiers)
            counts = re.findall(r"(\d+)\*", modifiers)
            if ended:
                continue
            if action == "off" and not counts:
                ended = True
                continue
            ended = action == "pause"
            if action == "sleep" and nonsleepable:
                action, number = "delay", number * 1000
            percent = float(percents[-1]) if percents else 100.0
            shown = f"{int(percent)}" + f"{percent % 1:.4f}"[1:].rstrip("0").rstrip(".")
            kept.append(
                (f"{shown}%" if percent < 100 else "")
                + (f"{counts[-1]}*" if counts else "")
                + action
                + (f"({number})" if number else "")
                + (f"[pid {pid}]" if pid else "")
            )
        return "->".join(kept) or "off"
