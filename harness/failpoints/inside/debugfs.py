# SPDX-License-Identifier: BSD-2-Clause
"""Linux's fault injection (Documentation/fault-injection/fault-injection.rst), through debugfs.

A capability is a folder of knobs. What fail(9) says is put into `probability`, `times` and, for
fail_function, `retval`; the other knobs are the target's. Kernels count down `times` and nothing
else, so a setting without a count gets the largest one, which then tells how often it fired.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.errors import ConfigurationError, GuestError
from harness.failpoints.grammar import PPM_ALWAYS, Action, Setting
from harness.failpoints.inside.base import Reading, Shell, output, unknown, write

DEBUGFS = "/sys/kernel/debug"
FUNCTION = "fail_function"
_PERCENT = PPM_ALWAYS // 100
_TIMES = 2**31 - 1
"""The largest `times` (an atomic_t); -1, which the documentation gives for always, counts nothing
and is refused by kernels 5.11 to 6.0, whose debugfs took no negative numbers."""
_OWN = ("probability", "times")
_SEEN = ("probability", "interval", "times", "space")
_YES_NO = {True: "Y", False: "N"}


@dataclass(frozen=True)
class FaultInjection:
    """A capability (`failslab`, `fail_page_alloc`, …, or `fail_function:NAME`) with a setting.

    `knobs` are further files of its folder; with `only_workload` only the workload and what it
    starts are made to fail (`task-filter`); `devices` are block devices for fail_make_request.
    """

    name: str
    point: str
    setting: Setting
    knobs: Mapping[str, int | str | bool] = field(default_factory=dict)
    only_workload: bool = False
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        terms = self.setting.reachable_terms
        if len(terms) > 1 or any(term.pid is not None for term in terms):
            raise ConfigurationError(
                f"{self._where}: `{self.setting}`: fault injection takes one term without [pid N]"
            )
        wrong = [knob for knob in _OWN if knob in self.knobs]
        if wrong:
            raise ConfigurationError(
                f"{self._where}: knobs: {', '.join(wrong)}: these follow from `do`; write them "
                "there, as in `5%return` or `3*return`"
            )
        if terms and not self.function and terms[0].argument:
            raise ConfigurationError(
                f"{self._where}: `{self.setting}`: {self.point} fails in its own way, and only "
                f"{FUNCTION} takes a value: write `return`"
            )
        if self.devices and self.capability != "fail_make_request":
            raise ConfigurationError(f"{self._where}: `devices` are for fail_make_request")

    @property
    def mechanism(self) -> str:
        """`debugfs`."""
        return "debugfs"

    @property
    def _where(self) -> str:
        return f"failpoint {self.name} (debugfs)"

    @property
    def capability(self) -> str:
        """The folder below /sys/kernel/debug."""
        return self.point.partition(":")[0]

    @property
    def function(self) -> str:
        """Of fail_function, the function that is made to fail; else empty."""
        return self.point.partition(":")[2]

    @property
    def _folder(self) -> str:
        return f"{DEBUGFS}/{self.capability}"

    async def set(self, shell: Shell) -> Reading:
        """Sets every knob and reads it back; what it was before. Raises ConfigurationError."""
        there = await _capabilities(shell)
        if self.capability not in there:
            raise unknown(self._where, "fault injection", self.capability, there)
        if bool(self.function) != (self.capability == FUNCTION):
            raise ConfigurationError(
                f"{self._where}: point: `{FUNCTION}:NAME` names a function, other capabilities none"
            )
        files = (await output(shell, f"ls {self._folder}")).split()
        wanted = self._wanted()
        for knob in wanted:
            if knob not in files:
                raise unknown(self._where, f"knob of {self.capability}", knob, files)
        knobs = {knob: await output(shell, f"cat {self._folder}/{knob}") for knob in wanted}
        before = replace(await self._seen(shell), knobs=knobs)
        # nothing may fail before all is set
        for knob, value in wanted.items():
            if knob != "probability":
                await self._write(shell, f"{self._folder}/{knob}", value)
        if self.function:
            await self._inject(shell)
        for device in self.devices:
            await self._write(shell, f"/sys/block/{device}/make-it-fail", "1")
        await self._write(shell, f"{self._folder}/probability", wanted["probability"])
        return before

    def _wanted(self) -> dict[str, str]:
        terms = [term for term in self.setting.reachable_terms if term.action is Action.RETURN]
        percent = terms[0].ppm // _PERCENT if terms else 0
        count = terms[0].count if terms else None
        knobs = {"interval": "1", "space": "0", "verbose": "0"}
        knobs |= {knob: _as_text(value) for knob, value in self.knobs.items()}
        if self.only_workload:
            knobs["task-filter"] = "Y"
        knobs["times"] = str(_TIMES if count is None else count)
        return knobs | {"probability": str(percent)}

    async def _write(self, shell: Shell, file: str, value: str) -> None:
        await write(shell, file, value, self._where)
        now = await output(shell, f"cat {file}")
        if now != value and not _equal_numbers(now, value):
            raise ConfigurationError(f"{self._where}: {file}: wrote `{value}`, it reads `{now}`")

    async def _inject(self, shell: Shell) -> None:
        allowed = f"{DEBUGFS}/error_injection/list"
        try:
            await write(shell, f"{self._folder}/inject", self.function, self._where)
        except ConfigurationError as error:
            names = [
                line.split()[0] for line in (await output(shell, f"cat {allowed}")).split("\n")
            ]
            if self.function in names:
                raise
            raise unknown(
                self._where, "function marked ALLOW_ERROR_INJECTION", self.function, names
            ) from error
        value = next((term.argument or 0 for term in self.setting.reachable_terms), 0)
        # as an unsigned word: simple_attr_write() of some versions takes no sign
        retval = f"{value & (2**64 - 1):#x}"
        await self._write(shell, f"{self._folder}/{self.function}/retval", retval)

    async def read(self, shell: Shell) -> Reading:
        """probability, interval, times and space; `fired` is counted from `times`."""
        now = await self._seen(shell)
        fired = int(self._wanted()["times"]) - now.counters["times_left"]
        return replace(now, counters={"fired": fired})

    async def _seen(self, shell: Shell) -> Reading:
        command = "".join(f"cat {self._folder}/{knob};" for knob in _SEEN)
        values = (await output(shell, command)).split()
        if len(values) != len(_SEEN):
            raise GuestError(f"{self._where}: {self._folder} reads {' '.join(values)!r}")
        found = dict(zip(_SEEN, values, strict=True))
        text = " ".join(f"{knob}={value}" for knob, value in found.items())
        return Reading(text, {"times_left": int(found["times"])})

    async def reset(self, shell: Shell, before: Reading) -> None:
        """Never again, then every knob as it was before."""
        await write(shell, f"{self._folder}/probability", "0", self._where)
        if self.function:
            await write(shell, f"{self._folder}/inject", f"!{self.function}", self._where)
        for device in self.devices:
            await write(shell, f"/sys/block/{device}/make-it-fail", "0", self._where)
        for knob, value in before.knobs.items():
            # -1 is what some versions cannot write back; the largest number is as good
            await write(
                shell,
                f"{self._folder}/{knob}",
                str(_TIMES) if value == "-1" else value,
                self._where,
            )

    def workload_command(self, command: str) -> str:
        """Marks the shell that becomes the workload, if only that is to fail."""
        if not self.only_workload:
            return command
        return f"echo 1 > /proc/self/make-it-fail; {command}"


async def _capabilities(shell: Shell) -> list[str]:
    result = await shell.run(f"cd {DEBUGFS} && ls -d */probability")
    names = result.output.decode(errors="replace").split() if result.status == 0 else []
    return [name.removesuffix("/probability") for name in names]


def _as_text(value: int | str | bool) -> str:
    return _YES_NO[value] if isinstance(value, bool) else str(value)


def _equal_numbers(one: str, other: str) -> bool:
    """`0xfff4` is `fff4` where the kernel prints hexadecimal."""
    for base in (0, 16):
        try:
            if int(one, base) == int(other, 0):
                return True
        except ValueError:
            continue
    return False
