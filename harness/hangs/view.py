# SPDX-License-Identifier: BSD-2-Clause
"""A stopped guest as one sees it from outside: its memory and its vCPUs' registers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from harness.places.structures import Field

Read = Callable[[int, int], Awaitable[bytes]]
"""Address and size of virtual memory in bytes; fewer come back where the rest is not mapped."""

_BLOCK = 1024


@dataclass(frozen=True)
class GuestView:
    """What can be read while the guest is stopped; memory once read is kept.

    `registers` are by vCPU, by their names in QEMU's target description.
    """

    arch: str
    read_memory: Read
    registers: tuple[Mapping[str, int], ...] = ()
    _blocks: dict[int, bytes] = field(default_factory=dict)

    async def read(self, address: int, size: int) -> bytes:
        """Memory as `Read` says."""
        content = b""
        while len(content) < size:
            at = address + len(content)
            start = at - at % _BLOCK
            if start not in self._blocks:
                self._blocks[start] = await self.read_memory(start, _BLOCK)
            chunk = self._blocks[start][at - start :][: size - len(content)]
            if not chunk:
                break
            content += chunk
        return content

    async def number(self, address: int, field_: Field) -> int:
        """A field of the structure at an address. 0 where nothing is mapped there."""
        data = await self.read(address + field_.offset, field_.size)
        return Field(0, field_.size, field_.shift, field_.bits).value(data)

    async def pointer(self, address: int) -> int:
        """The pointer that is stored at an address. 0 where nothing is mapped there."""
        return int.from_bytes(await self.read(address, 8 if self.arch == "x86_64" else 4), "little")

    async def text(self, address: int, size: int) -> str:
        """A string that ends with a zero, at most `size` bytes long."""
        data = await self.read(address, size)
        return data.split(b"\0", 1)[0].decode("ascii", "backslashreplace")
