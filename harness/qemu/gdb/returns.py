# SPDX-License-Identifier: BSD-2-Clause
"""`return(n)` from outside: a function returns a value without having run."""

import time

from harness.qemu.gdb.client import GdbClient
from harness.qemu.gdb.packets import GdbProtocolError


async def force_return(client: GdbClient, thread: str, value: int) -> int:
    """Makes the vCPU, stopped at a function's first instruction, return `value` to its caller.

    Returns the address that it goes on at. At a function's first instruction the return address
    is in the link register, or on top of the stack (System V ABI, i386 and x86-64). Negative
    values are taken as two's complement. Raises GdbProtocolError.
    """
    arch = client.arch
    registers = await client.registers(thread)
    if arch.link:
        back = registers.get(arch.link)
    else:
        top = await client.read_memory(thread, registers.sp, arch.word)
        if len(top) < arch.word:
            raise GdbProtocolError(f"no return address at the stack pointer {registers.sp:#x}")
        back = int.from_bytes(top, "little")
        sp = registers.name_of(arch.sp)
        await client.write_register(thread, sp, registers.sp + arch.word)
    result = registers.name_of(arch.result)
    await client.write_register(thread, result, value & ((1 << 8 * arch.word) - 1))
    await client.write_register(thread, registers.name_of(arch.pc), back)
    return back


async def force_returns(
    client: GdbClient, address: int, value: int, *, count: int = 1, seconds: float = 10.0
) -> int:
    """Makes the function at `address` return `value`, the next `count` times that it is called.

    `address` is its first instruction (ppc64le: the local entry), `seconds` the wall-clock limit.
    The guest is stopped on return. Returns how many calls were answered so. Raises
    GdbProtocolError.
    """
    deadline = time.monotonic() + seconds
    await client.set_breakpoint(address)
    done = 0
    try:
        while done < count:
            await client.resume()
            stop = await client.run_until_stop(max(0.0, deadline - time.monotonic()))
            if stop is None:
                break
            # several vCPUs may stand at the breakpoint; the others hit it when they are resumed
            if stop.thread is not None and stop.at_breakpoint:
                await force_return(client, stop.thread, value)
                done += 1
    finally:
        await client.clear_breakpoint(address)
    return done
