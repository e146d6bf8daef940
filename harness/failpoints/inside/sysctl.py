# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's fail points: the sysctl variables debug.fail_point.* of fail(9).

Behaviour after sys/kern/kern_fail.c (FreeBSD 13.2): a setting that does not parse is EINVAL and
changes nothing; what is read back is normalised (`fail_point_get`), without terms that cannot
execute, those behind an `off` or `pause` that ends the chain, and those that are used up (of a last
one the arrow before it stays); at a point that must not sleep, sleep(ms) becomes delay(us).
`status_NAME` beside it counts sleepers and has their stacks. All of that was seen on 13.2.
"""

import re
import shlex
from dataclasses import dataclass

from harness.console.guest_channel import CommandResult
from harness.errors import ConfigurationError
from harness.failpoints.grammar import PPM_ALWAYS, Action, Setting, Term, parse_setting
from harness.failpoints.inside.base import Reading, Shell, same_effect, unknown

TREE = "debug.fail_point"
_STATUS = "status_"
_MORE = (_STATUS, "trace_")
"""Before a variable's name: what kernels tell beside the setting. 13.2 has the first."""
_PERCENT = PPM_ALWAYS // 100
_COUNT = re.compile(r"^(sleeping|paused)_thread_count = (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class SysctlFailpoint:
    """The variable `point` (below debug.fail_point, or with its whole name) with a setting.

    Of the guest it needs two commands, with sysctl(8)'s meaning: `sysctl NAME` prints the value
    (`NAME: ` may stand before it), `sysctl NAME=VALUE` sets it; both fail with a message for an
    unknown name and, the second, for a value that the kernel refuses. `NAME=VALUE` may come in
    single quotes, as for a shell. Without VALUE, `sysctl debug.fail_point` lists what is there.
    """

    name: str
    point: str
    setting: Setting

    def __post_init__(self) -> None:
        if len(self.setting.reachable_terms) > len(_kept(self.setting)):
            raise ConfigurationError(
                f"{self._where}: `{self.setting}`: FreeBSD drops what stands behind a pause, and "
                "behind an off without a count: end with it, or give the off a count"
            )

    @property
    def mechanism(self) -> str:
        """`sysctl`."""
        return "sysctl"

    @property
    def _where(self) -> str:
        return f"failpoint {self.name} (sysctl)"

    @property
    def variable(self) -> str:
        """The whole name of the variable."""
        return self.point if "." in self.point else f"{TREE}.{self.point}"

    @property
    def _beside(self) -> tuple[str, ...]:
        parent, _, leaf = self.variable.rpartition(".")
        return tuple(f"{parent}.{prefix}{leaf}" for prefix in _MORE)

    async def set(self, shell: Shell) -> Reading:
        """Sets the variable and reads it back; what it was before. Raises ConfigurationError."""
        if (await shell.run(_read(self.variable))).status != 0:
            raise unknown(self._where, "fail point", self.variable, await _variables(shell))
        before = await self.read(shell)
        result = await shell.run(_set(self.variable, str(self.setting)))
        if result.status != 0:
            raise ConfigurationError(
                f"{self._where}: {self.variable} does not take `{self.setting}`: {_said(result)}"
            )
        now = (await self.read(shell)).setting
        texts = freebsd_text(self.setting), freebsd_text(self.setting, may_sleep=False)
        if now not in texts and not any(same_effect(parse_setting(t), now) for t in texts):
            raise ConfigurationError(
                f"{self._where}: set to `{self.setting}`, {self.variable} reads `{now}`: is the "
                "workload or the set-up setting it as well?"
            )
        return before

    async def read(self, shell: Shell) -> Reading:
        """The setting, and how many threads sleep and pause there now, where the kernel says."""
        result = await shell.run(_read(self.variable))
        if result.status != 0:
            raise ConfigurationError(f"{self._where}: {self.variable}: {_said(result)}")
        told = [await shell.run(_read(variable)) for variable in self._beside]
        more = "\n".join(_said(answer) for answer in told if answer.status == 0)
        counters = {f"{kind}_threads": int(count) for kind, count in _COUNT.findall(more)}
        value = _value(_said(result), self.variable).removesuffix("->")
        return Reading(value, counters, status=more)

    async def reset(self, shell: Shell, before: Reading) -> None:
        """Off; who is paused goes on."""
        result = await shell.run(_set(self.variable, "off"))
        if result.status != 0:
            raise ConfigurationError(f"{self._where}: {self.variable}=off: {_said(result)}")

    def workload_command(self, command: str) -> str:
        """The variable needs nothing of the workload."""
        return command


def freebsd_text(setting: Setting, *, may_sleep: bool = True) -> str:
    """How FreeBSD prints a setting that was just made; at a point where nothing may sleep,
    otherwise."""
    return "->".join(_term_text(term, may_sleep) for term in _kept(setting)) or "off"


def _kept(setting: Setting) -> list[Term]:
    """The terms that fail_point_set() keeps."""
    kept: list[Term] = []
    for term in setting.terms:
        if term.action is Action.OFF and term.count is None:
            break
        kept.append(term)
        if term.action is Action.PAUSE:
            break
    return kept


def _term_text(term: Term, may_sleep: bool) -> str:
    action, argument = term.action, term.argument or 0
    if action is Action.SLEEP and not may_sleep:
        action, argument = Action.DELAY, argument * 1000
    units, decimals = divmod(term.ppm, _PERCENT)
    text = ""
    if term.ppm != PPM_ALWAYS:
        text = f"{units}" + (f".{decimals:04}".rstrip("0") if decimals else "") + "%"
    if term.count is not None:
        text += f"{term.count}*"
    text += action.value
    if argument:
        text += f"({argument})"
    if term.pid is not None:
        text += f"[pid {term.pid}]"
    return text


async def _variables(shell: Shell) -> list[str]:
    result = await shell.run(_read(TREE))
    names = re.findall(rf"^({re.escape(TREE)}\.[^\s:=]+)", _said(result), re.MULTILINE)
    beside = [name for name in names if f".{_STATUS}" in name]
    # test_trigger_fail_point is none, but what runs into one
    found = [name.replace(f".{_STATUS}", ".") for name in beside]
    return [name for name in names if name in found or (not beside)]


def _read(variable: str) -> str:
    return f"sysctl {shlex.quote(variable)}"


def _set(variable: str, value: str) -> str:
    return f"sysctl {shlex.quote(f'{variable}={value}')}"


def _said(result: CommandResult) -> str:
    return result.output.decode(errors="backslashreplace").strip() or f"status {result.status}"


def _value(printed: str, variable: str) -> str:
    for separator in (": ", "=", ":"):
        if printed.startswith(variable + separator):
            return printed[len(variable + separator) :].strip()
    return printed
