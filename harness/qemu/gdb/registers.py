# SPDX-License-Identifier: BSD-2-Clause
"""The registers of a vCPU: their layout out of QEMU's target description, and their values.

Target descriptions are in the GDB manual, appendix G; the `g` packet has the registers in the
order of their numbers, without padding.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.qemu.gdb.architecture import Architecture
from harness.qemu.gdb.packets import GdbProtocolError

_TAG = re.compile(r"<(?:reg|xi:include)\b[^>]*>")
_ATTRIBUTE = re.compile(r"""([\w:]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")


@dataclass(frozen=True)
class Register:
    """One register: its number in `p` packets, its place in the `g` packet, in bytes."""

    name: str
    number: int
    offset: int
    size: int


def included_files(description: str) -> list[str]:
    """The files that a target description includes, in order."""
    return [
        found["href"]
        for tag in _TAG.findall(description)
        if tag.startswith("<xi:include") and "href" in (found := _attributes(tag))
    ]


def parse_layout(descriptions: list[str]) -> dict[str, Register]:
    """The registers by name, out of the descriptions' `<reg>` elements in order.

    A register without a number has its predecessor's plus one. Raises GdbProtocolError for a
    description without registers, or one that has no name or size.
    """
    named: dict[int, tuple[str, int]] = {}
    number = 0
    for description in descriptions:
        for tag in _TAG.findall(description):
            if not tag.startswith("<reg"):
                continue
            found = _attributes(tag)
            try:
                number = int(found.get("regnum", number))
                named.setdefault(number, (found["name"], int(found["bitsize"]) // 8))
            except (KeyError, ValueError) as error:
                raise GdbProtocolError(f"gdb server: no register in {tag!r}: {error}") from error
            number += 1
    if not named:
        raise GdbProtocolError("gdb server: the target description has no registers")
    layout: dict[str, Register] = {}
    for register in _placed(named):
        # ppc64 lists lr and others once more among its special registers: the first is in `g`
        layout.setdefault(register.name, register)
    return layout


def _placed(named: Mapping[int, tuple[str, int]]) -> Iterator[Register]:
    offset = 0
    for number, (name, size) in sorted(named.items()):
        yield Register(name, number, offset, size)
        offset += size


def _attributes(tag: str) -> dict[str, str]:
    return {name: double or single for name, double, single in _ATTRIBUTE.findall(tag)}


@dataclass(frozen=True)
class Registers:
    """The values of one vCPU's registers; those that QEMU did not send are missing."""

    values: Mapping[str, int]
    arch: Architecture

    @classmethod
    def from_packet(
        cls, packet: bytes, layout: Mapping[str, Register], arch: Architecture
    ) -> "Registers":
        """Read the answer to a `g` packet: hexadecimal bytes, `xx` for what is not known.

        All our guests are little-endian. Raises GdbProtocolError if it is not hexadecimal.
        """
        values = {}
        for register in layout.values():
            text = packet[2 * register.offset : 2 * (register.offset + register.size)]
            if len(text) < 2 * register.size or text.startswith(b"x"):
                continue
            try:
                values[register.name] = int.from_bytes(bytes.fromhex(text.decode()), "little")
            except ValueError as error:
                raise GdbProtocolError(f"gdb server: registers as {packet[:40]!r}") from error
        return cls(values, arch)

    def get(self, names: tuple[str, ...]) -> int:
        """The first of several names that this target has, cut to the guest's word.

        Raises GdbProtocolError if it has none of them.
        """
        mask = (1 << 8 * self.arch.word) - 1
        for name in names:
            if name in self.values:
                return self.values[name] & mask
        raise GdbProtocolError(
            f"gdb server: no register {' or '.join(names)}: is the guest {self.arch.name}?"
        )

    def name_of(self, names: tuple[str, ...]) -> str:
        """Which of several names this target has. Raises GdbProtocolError if none."""
        self.get(names)
        return next(name for name in names if name in self.values)

    @property
    def pc(self) -> int:
        """Address of the next instruction."""
        return self.get(self.arch.pc)

    @property
    def sp(self) -> int:
        """Stack pointer."""
        return self.get(self.arch.sp)

    @property
    def frame(self) -> int:
        """What would be the frame pointer, if the code at hand keeps one."""
        return self.get(self.arch.frame)

    @property
    def in_kernel(self) -> bool:
        """Whether the vCPU is in kernel mode."""
        return self.get(self.arch.mode) & self.arch.mode_mask in self.arch.kernel_mode
