# SPDX-License-Identifier: BSD-2-Clause
"""How long QEMU's threads waited for a processor: time in which the guest could not run."""

from pathlib import Path

_NS = 1e9


class Starvation:
    """Asked again and again; each answer is of the time since the last one.

    The kernel adds a thread's wait to its account when the wait ends (Linux,
    Documentation/scheduler/sched-stats.rst: /proc/<pid>/schedstat), so a thread that waits at the
    moment is told by its state. A process that is gone has waited for nothing.
    """

    def __init__(self, pid: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        self._seen = self._accounts()

    def waited(self) -> float:
        """Seconds that the thread which waited longest has waited since the last call."""
        before, self._seen = self._seen, self._accounts()
        waits = [
            waited - before[thread][1]
            for thread, (_, waited) in self._seen.items()
            if thread in before
        ]
        return max(waits, default=0) / _NS

    def is_waiting(self) -> bool:
        """Whether a thread could run, and has not run since `waited` was called last."""
        return any(
            self._state(thread) == "R" and self._accounts_of(thread) == account
            for thread, account in self._seen.items()
        )

    def _accounts(self) -> dict[str, tuple[int, int]]:
        try:
            threads = [folder.name for folder in self._tasks.iterdir()]
        except OSError:
            return {}
        found = {thread: self._accounts_of(thread) for thread in threads}
        return {thread: account for thread, account in found.items() if account is not None}

    def _accounts_of(self, thread: str) -> tuple[int, int] | None:
        try:
            ran, waited = (self._tasks / thread / "schedstat").read_text().split()[:2]
        except (OSError, ValueError):
            return None
        return int(ran), int(waited)

    def _state(self, thread: str) -> str:
        try:
            text = (self._tasks / thread / "stat").read_text()
        except OSError:
            return ""
        return text.rpartition(")")[2].split()[0]
