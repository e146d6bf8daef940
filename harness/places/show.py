# SPDX-License-Identifier: BSD-2-Clause
"""Resolved places as plain text, for `harness places`."""

from harness.places.resolve import ResolvedPlace


def render(resolved: ResolvedPlace, name: str = "") -> str:
    """A place as lines of text: what was written, each address, notes, and the code around.

    `name` is the failpoint's, put before the place. The lines end with newlines and hold no
    control characters; symbol names come from the guest, so anything unprintable is replaced.
    """
    label = f"{name}: " if name else ""
    lines = [f"{label}{resolved.place}  (symbols: {resolved.symbol_file})"]
    for address, position in zip(resolved.addresses, resolved.positions, strict=True):
        lines.append(f"  {address:#018x}  {position}")
    lines += [f"  note: {note}" for note in resolved.notes]
    if resolved.disassembly:
        lines.append("")
        lines += [f"    {line}".rstrip() for line in resolved.disassembly]
    return "".join(_printable(line) + "\n" for line in lines)


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
