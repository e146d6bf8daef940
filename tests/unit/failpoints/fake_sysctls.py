# SPDX-License-Identifier: BSD-2-Clause
"""A guest with FreeBSD's fail points, as fail(9) and kern_fail.c's behaviour describe them."""

import re
import shlex

from harness.console.channel import CommandResult

_TERM = re.compile(
    r"((?:\d*\.?\d+%|\d+\*)*)(off|return|sleep|panic|break|print|pause|yield|delay)"
    r"(?:\((-?(?:0x[0-9a-f]+|\d+))\)(?:\[pid (\d+)\])?)?"
)


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
            text = "".join(f"{key}: {value}\n" for key, value in self.values.items())
            return CommandResult(0, text.encode())
        parent, _, leaf = name.rpartition(".")
        if leaf.startswith("status_") and f"{parent}.{leaf[7:]}" in self.values:
            counts = "sleeping_thread_count = 2,\npaused_thread_count = 1\n"
            said = self.values[f"{parent}.{leaf[7:]}"]
            return CommandResult(0, f"{name}: {said}\n{counts}".encode())
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
        if len(terms) > 20 or len(value) > 1023:
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
