# SPDX-License-Identifier: BSD-2-Clause
"""Words in a ready guest's memory changed from outside, as a target asks for every arm."""

from qemu.qmp import QMPError

from harness.errors import ConfigurationError, GuestError
from harness.places.symbols import SymbolTable
from harness.plan.rules import AdjustModel
from harness.qemu.gdb import GdbClient, attached
from harness.qemu.guest import RunningGuest
from harness.trials.arm import PreparedArm


async def adjust_guest(guest: RunningGuest, arm: PreparedArm) -> None:
    """Makes the target's adjustments in a guest that was just booted.

    Raises ConfigurationError for a variable that the kernel has not, GuestError where the guest's
    memory cannot be reached.
    """
    if not arm.adjust:
        return
    if arm.symbols_file is None or not arm.symbols_file.exists():
        raise ConfigurationError(f"[[adjust]]: the symbols of {arm.kernel.label} are not known")
    symbols = SymbolTable.read(arm.symbols_file.read_bytes(), arm.kernel.label)
    try:
        async with attached(guest.monitor, arm.arch) as client:
            thread = (await client.threads())[0]
            for change in arm.adjust:
                await adjust_words(client, thread, symbols, change)
    except (QMPError, EOFError, OSError) as error:
        raise GuestError(f"the guest's memory cannot be adjusted: {error}") from error


async def adjust_words(
    client: GdbClient, thread: str, symbols: SymbolTable, change: AdjustModel
) -> None:
    """Makes one adjustment in a stopped guest. Raises ConfigurationError, GuestError."""
    word = client.arch.word
    start = symbols.address_of(change.variable)
    data = await client.read_memory(thread, start, change.words * word)
    if len(data) < change.words * word:
        raise GuestError(f"[[adjust]]: {change.variable} at {start:#x} is not mapped")
    for at in range(0, len(data), word):
        value = int.from_bytes(data[at : at + word], "little")
        if value:
            new = (value + change.add) % (1 << 8 * word)
            await client.write_memory(thread, start + at, new.to_bytes(word, "little"))
