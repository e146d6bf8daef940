# SPDX-License-Identifier: BSD-2-Clause
"""The kernel stack of a stopped vCPU, out of its registers and memory.

Kernels are built with and without frame pointers, and unwinding tables (ORC) need the kernel's own
file. So, as Linux itself does (arch/x86/kernel/dumpstack.c, show_trace_log_lvl): every word of the
stack that looks like a return address is a frame. It is reliable if the chain of frame pointers
goes through it or, in a kernel without them, if its call fits its neighbours (`linked_frames`);
the others are marked, since they may be left over from calls that returned long ago. Where a
chain of frames is the rule (arm64, ppc64le) only the chain is shown.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.hangs.evidence import StackFrame
from harness.places.disassemble import Flow, Instruction, disassemble, ppc64le_local_entry
from harness.places.symbols import Symbol, SymbolTable
from harness.qemu.gdb import Architecture, Registers

Read = Callable[[int, int], Awaitable[bytes]]
"""Address and size of virtual memory in bytes; fewer come back where the rest is not mapped."""

MOST_FRAMES = 64
_LONGEST_FUNCTION = 0x20000
"""Bytes from a symbol to an address that is still taken to be in that function."""
_TRAMPOLINES = ("__x86_indirect", "__SCT__", "__fentry__")
"""Functions that calls go through on their way elsewhere."""
_MOST_STACKS = 3
_TRUSTED_CHAIN = 3
"""So many return addresses in a row are no chance: the kernel keeps frame pointers."""
_STRAIGHT, _TAIL, _INDIRECT, _UNEXPLAINED, _EXPECTED = 3, 1, -4, -8, 12
_MOST_CODE = 4096
_X86_CALLS = (5, 2, 3, 6, 7, 4)
"""Lengths of call instructions: direct; indirect through a register and through memory."""


@dataclass(frozen=True)
class _Call:
    """The call instruction before a return address; `target` is None for an indirect one.

    `tails` are the functions that the target may have jumped to instead of calling them.
    """

    target: int | None
    tails: frozenset[int] = frozenset()


def function_at(symbols: SymbolTable | None, address: int) -> tuple[Symbol, int] | None:
    """The kernel function that holds an address, and the offset in it; None if it is no code."""
    found = symbols.find(address) if symbols is not None else None
    if found is None or found[1] > _LONGEST_FUNCTION:
        return None
    return found


def is_kernel_address(arch: Architecture, address: int) -> bool:
    """Whether an address is in the kernel's part of the address space."""
    if arch.word == 4:
        return address >= 0xC0000000
    return bool(address >> 63)


@dataclass(frozen=True)
class _Candidate:
    """A possible frame: its function's start, the call that it returns from, where it was found.

    `caller_at` is where its own return address should be, by what its function has pushed so far.
    """

    function: int | None
    call: _Call
    at: int
    address: int
    caller_at: int | None = None


def linked_frames(candidates: Sequence[_Candidate]) -> set[int]:
    """The indices of the candidates that calls tie together, from the first one to the last.

    The first candidate is where the vCPU is, the last one the outermost frame, above which a
    stack holds nothing. Of all ways from one to the other the best one is taken. What counts most
    for a link is that the outer frame is where the inner function, by its pushes, has its return
    address; then that the outer frame's call goes straight to the inner function. An indirect
    call counts against a link, and more so if no call explains it. What is left over from earlier
    calls is tied to itself, but to the rest only by links that cost more than it gains; the same
    function a second time is taken as left over too (since 5.13 Linux moves each system call's
    stack a little, so that whole chains lie there several times), which leaves recursion in doubt.
    A frame is linked if it is on that way and a link that counts for it leads from or to it.
    """
    best, inner = [0], [0]
    for outer in range(1, len(candidates)):
        scores = [best[i] + _link(candidates[i], candidates[outer]) for i in range(outer)]
        best.append(max(scores))
        inner.append(scores.index(best[-1]))
    way = [len(candidates) - 1]
    while way[-1] > 0:
        way.append(inner[way[-1]])
    way = _without_loops(way[::-1], candidates)
    linked: set[int] = set()
    for below, above in pairwise(way):
        if _link(candidates[below], candidates[above]) > 0:
            linked |= {below, above}
    return linked


def _without_loops(way: Sequence[int], candidates: Sequence[_Candidate]) -> list[int]:
    short: list[int] = []
    for at in way:
        function = candidates[at].function
        again = next((n for n, i in enumerate(short) if candidates[i].function == function), None)
        short = [*short, at] if again is None else short[: again + 1]
    return short


def _link(inner: _Candidate, outer: _Candidate) -> int:
    is_where_expected = _EXPECTED if inner.caller_at == outer.at else 0
    if outer.call.target is None:
        return _INDIRECT + is_where_expected
    if outer.call.target == inner.function:
        return _STRAIGHT + is_where_expected
    if inner.function in outer.call.tails:
        return _TAIL + is_where_expected
    return _UNEXPLAINED + is_where_expected


def pushed_bytes(code: Sequence[Instruction], word: int) -> int | None:
    """How far x86 code has moved the stack pointer down since its function began, in bytes.

    Read in the order of addresses: what is popped before a return or a jump away is there again
    behind it. None where the stack pointer is set in another way (a frame pointer, alignment).
    """
    pushed, before_pops = 0, None
    for insn in code:
        if insn.flow is Flow.RETURN or (insn.flow is Flow.JUMP and not insn.is_conditional):
            pushed, before_pops = (pushed if before_pops is None else before_pops), None
            continue
        change = _stack_change(insn.text, word)
        if change is None:
            return None
        if change < 0 and before_pops is None:
            before_pops = pushed
        elif change > 0:
            before_pops = None
        pushed += change
    return pushed if pushed >= 0 else None


def _stack_change(text: str, word: int) -> int | None:
    operation, _, operands = text.partition(" ")
    if operation.startswith("push"):
        return word
    if operation.startswith("pop"):
        return -word
    target, _, amount = operands.partition(", ")
    if operation == "leave" or (target in ("rsp", "esp") and operation != "cmp"):
        if operation not in ("sub", "add") or not amount.startswith(("0x", *"0123456789")):
            return None
        return int(amount, 0) * (1 if operation == "sub" else -1)
    return 0


class Unwinder:
    """Walks the stacks of one kernel. `symbols` may be None: frames have no names then, and fewer
    of them can be told from chance."""

    def __init__(self, arch: Architecture, symbols: SymbolTable | None, read: Read) -> None:
        self._arch = arch
        self._symbols = symbols
        self._read = read
        self._calls: dict[int, _Call | None] = {}

    async def stack(self, registers: Registers) -> tuple[StackFrame, ...]:
        """The frames, innermost first: where the vCPU is, then who called.

        In user mode there is only the first one, since the kernel's stack is empty then.
        """
        first = self._frame(registers.pc, reliable=True)
        if not registers.in_kernel:
            return (StackFrame(registers.pc),)
        words = await self._stack_words(registers.sp)
        on_chain = await self._chain(registers, words)
        if self._arch.link:
            link = registers.get(self._arch.link)
            callers = [first]
            call = await self._call_before(link)
            is_in_chain = link in {words[at] for at in on_chain}
            if (
                call is not None
                and not is_in_chain
                and not self._same_function(link, first.address)
            ):
                # a leaf, or not yet past its prologue: the caller's address is not on the stack
                is_caller = call.target is not None and call.target == self._start(first.address)
                callers.append(self._frame(link, reliable=is_caller))
            callers += [self._frame(words[at], reliable=True) for at in on_chain]
            return tuple(callers[:MOST_FRAMES])
        return tuple(await self._scan(first, words, set(on_chain)))

    def _same_function(self, a: int, b: int) -> bool:
        one, other = function_at(self._symbols, a), function_at(self._symbols, b)
        return one is not None and other is not None and one[0] == other[0]

    async def _stack_words(self, sp: int) -> dict[int, int]:
        """The words from the stack pointer to the end of the stack, by their addresses, in order.

        Interrupts have stacks of their own on x86-64; the last word of one is the stack pointer
        of what was interrupted (arch/x86/include/asm/irq_stack.h), whose words follow then.
        """
        words = await self._words_of_one_stack(sp)
        for _ in range(_MOST_STACKS - 1):
            below = words[next(reversed(words))] if words else 0
            is_stack = (
                is_kernel_address(self._arch, below)
                and below % self._arch.word == 0
                and below not in words
                and function_at(self._symbols, below) is None
            )
            more = await self._words_of_one_stack(below) if is_stack else {}
            if not more:
                break
            words |= more
        return words

    async def _words_of_one_stack(self, sp: int) -> dict[int, int]:
        word, size = self._arch.word, self._arch.stack_bytes
        start = sp & -word
        end = (sp | (size - 1)) + 1
        data = await self._read(start, end - start)
        if len(data) == end - start:
            # a stack that is not aligned ends at a guard page, or else it was none
            more = await self._read(end, start + size - end)
            if len(more) < start + size - end:
                data += more
        return {
            start + at: int.from_bytes(data[at : at + word], "little")
            for at in range(0, len(data) - word + 1, word)
        }

    async def _chain(self, registers: Registers, words: Mapping[int, int]) -> list[int]:
        """The stack addresses of the return addresses on the chain of frames, innermost first."""
        found: list[int] = []
        frame, slot = registers.frame, self._arch.return_slot
        if self._arch.back_chain:  # the innermost frame's own return address is in its caller's
            frame = words.get(frame, 0)
        while frame in words and len(found) < MOST_FRAMES:
            back = words.get(frame + slot)
            if back is None or not await self._call_before(back):
                # ppc64le: a function that called nobody has not stored its return address
                if not (self._arch.back_chain and not found):
                    break
            else:
                found.append(frame + slot)
            above = words[frame]
            if above <= frame:
                break
            frame = above
        return found

    async def _scan(
        self, first: StackFrame, words: Mapping[int, int], on_chain: set[int]
    ) -> list[StackFrame]:
        sp = next(iter(words), 0)
        function = self._start(first.address)
        expected = await self._caller_at(function, first.address, sp)
        candidates = [_Candidate(function, _Call(None), 0, first.address, expected)]
        for at, value in words.items():
            call = await self._call_before(value)
            if call is not None and len(candidates) < MOST_FRAMES:
                function = self._start(value)
                expected = await self._caller_at(function, value, at + self._arch.word)
                candidates.append(_Candidate(function, call, at, value, expected))
        functions = {candidate.function for candidate in candidates}
        for at, candidate in enumerate(candidates):
            target = candidate.call.target
            if target is not None and target not in functions:
                call = _Call(target, await self._tail_calls(target))
                candidates[at] = replace(candidate, call=call)
        if len(on_chain) >= _TRUSTED_CHAIN:
            reliable = {at for at, c in enumerate(candidates) if c.at in on_chain}
        else:
            reliable = linked_frames(candidates)
        return [
            self._frame(c.address, reliable=at == 0 or at in reliable)
            for at, c in enumerate(candidates)
        ]

    def _start(self, address: int) -> int | None:
        found = function_at(self._symbols, address)
        return found[0].address if found is not None else None

    async def _caller_at(self, function: int | None, address: int, sp: int) -> int | None:
        """Where the return address of a function is that has come to `address` with `sp`."""
        if function is None or not 0 <= address - function <= _MOST_CODE:
            return None
        code = await self._read(function, address - function)
        pushed = pushed_bytes(disassemble(self._arch.name, code, function), self._arch.word)
        return None if pushed is None else sp + pushed

    async def _tail_calls(self, function: int) -> frozenset[int]:
        """The functions that a function jumps to, as the last thing that it does."""
        found = function_at(self._symbols, function)
        if found is None or self._symbols is None or self._symbols.is_last(found[0]):
            return frozenset()
        start, end = self._symbols.extent_of(found[0])
        code = await self._read(start, min(end - start, _MOST_CODE))
        return frozenset(
            insn.target
            for insn in disassemble(self._arch.name, code, start)
            if insn.flow is Flow.JUMP and insn.target and not start <= insn.target < end
        )

    async def _call_before(self, address: int) -> _Call | None:
        """The call that ends where an address begins, if the address is of kernel code at all."""
        if address not in self._calls:
            self._calls[address] = await self._find_call(address)
        return self._calls[address]

    async def _find_call(self, address: int) -> _Call | None:
        if not is_kernel_address(self._arch, address):
            return None
        if self._symbols is not None and function_at(self._symbols, address - 1) is None:
            return None
        if self._arch.name in ("x86_64", "i386"):
            most = max(_X86_CALLS)
            code = await self._read(address - most, most)
            lengths: tuple[int, ...] = _X86_CALLS
        else:
            code = await self._read(address - 4, 4)
            most, lengths = 4, (4,)
        if len(code) < most:
            return None
        for length in lengths:
            found = disassemble(self._arch.name, code[-length:], address - length)
            if len(found) == 1 and found[0].flow is Flow.CALL:
                return _Call(await self._entry(found[0].target))
        return None

    async def _entry(self, target: int | None) -> int | None:
        """A direct call's target as the function's symbol has it; None where it is a trampoline.

        ppc64le functions have two entries.
        """
        if target is None:
            return None
        found = function_at(self._symbols, target)
        if found is not None and found[0].name.startswith(_TRAMPOLINES):
            return None
        if self._arch.name != "ppc64le":
            return target
        before = await self._read(target - 8, 8)
        return target - ppc64le_local_entry(before)

    def _frame(self, address: int, reliable: bool) -> StackFrame:
        found = function_at(self._symbols, address)
        if found is None:
            return StackFrame(address, reliable=reliable)
        symbol, offset = found
        return StackFrame(address, symbol.name, offset, symbol.module, reliable)
