# SPDX-License-Identifier: BSD-2-Clause
"""Hooks in a Linux tree (harness/failpoints/linux): files in /sys/kernel/debug/fail_point."""

from dataclasses import dataclass

from harness.errors import ConfigurationError
from harness.failpoints.grammar import Setting
from harness.failpoints.inside.base import Reading, Shell, output, same_effect, unknown, write

FOLDER = "/sys/kernel/debug/fail_point"
_STATUS = "status_"


@dataclass(frozen=True)
class HookFailpoint:
    """The hook `point` with a setting; `name` is the target's name for that."""

    name: str
    point: str
    setting: Setting

    @property
    def mechanism(self) -> str:
        """`hook`."""
        return "hook"

    @property
    def _where(self) -> str:
        return f"failpoint {self.name} (hook)"

    async def set(self, shell: Shell) -> Reading:
        """Sets the hook and reads it back; what it was before. Raises ConfigurationError."""
        known = await _hooks(shell, self._where)
        if self.point not in known:
            raise unknown(self._where, "hook", self.point, known)
        before = await self.read(shell)
        await write(shell, f"{FOLDER}/{self.point}", str(self.setting), self._where)
        now = await self.read(shell)
        if not same_effect(self.setting, now.setting):
            raise ConfigurationError(
                f"{self._where}: set to `{self.setting}`, it reads `{now.setting}`: does "
                "the workload or the set-up set it as well?"
            )
        return before

    async def read(self, shell: Shell) -> Reading:
        """The setting, of which used-up terms are gone, and evaluated, fired, held and spun."""
        text = await output(shell, f"cd {FOLDER} && cat {self.point} && cat {_STATUS}{self.point}")
        setting, *lines = text.splitlines()
        words = [line.split() for line in lines]
        counters = {w[0]: int(w[1]) for w in words if len(w) == 2 and w[1].isdecimal()}
        return Reading(setting, counters)

    async def reset(self, shell: Shell, before: Reading) -> None:
        """Off; who is held goes on."""
        await write(shell, f"{FOLDER}/{self.point}", "off", self._where)

    def workload_command(self, command: str) -> str:
        """The hook needs nothing of the workload."""
        return command


async def _hooks(shell: Shell, where: str) -> list[str]:
    result = await shell.run(f"ls {FOLDER}")
    if result.status != 0:
        raise ConfigurationError(
            f"{where}: this kernel has no {FOLDER}: only one built from source with `hooks` has it"
        )
    names = result.output.decode(errors="replace").split()
    return [name for name in names if not name.startswith(_STATUS)]
