# SPDX-License-Identifier: BSD-2-Clause
"""Places resolved to addresses, by symbols, disassembly and DWARF lines."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.errors import ConfigurationError
from harness.places.disassemble import Flow, Instruction, disassemble, ppc64le_local_entry
from harness.places.dwarf import LineTable
from harness.places.image import KernelImage
from harness.places.symbols import Symbol, SymbolTable
from harness.places.syntax import (
    After,
    Call,
    Entry,
    FunctionPlace,
    LinePlace,
    Offset,
    Place,
    Return,
)

_AROUND = 4  # instructions shown before and behind a place
_MANY = 12
_LONGEST_FUNCTION = 1 << 20

# SYSCALL_DEFINE's wrappers: arch/*/include/asm/syscall_wrapper.h; an architecture's own variant of
# a call (arm64_personality) shadows the general one in its table.
_SYSCALL_NAMES: dict[str, tuple[str, ...]] = {
    "x86_64": ("__x64_sys_{}",),
    "i386": ("__ia32_sys_{}",),
    "arm64": ("__arm64_sys_arm64_{}", "__arm64_sys_{}"),
    "ppc64le": ("sys_ppc64_{}", "__powerpc_sys_{}"),
}
_SYSCALL_NAMES_ANYWHERE = ("sys_{}", "__se_sys_{}", "__do_sys_{}")

# A return compiled as a jump there (CONFIG_RETHUNK, or Clang's -mfunction-return).
_RETURN_THUNKS = ("__x86_return_thunk",)


@dataclass(frozen=True)
class ResolvedPlace:
    """A place with its virtual addresses, lowest first within the function and its cold parts.

    `offsets` are the addresses' distances in bytes from `function`'s symbol (negative if a cold
    part lies below); `positions` are the addresses as the nearest symbol and offset, as kernels
    print them. `function` is the first address's. `symbol_file` is where the symbols came from.
    `disassembly` is a few lines of text around each address; `notes` is what a user should know
    about this place.
    """

    place: Place
    addresses: tuple[int, ...]
    function: str
    offsets: tuple[int, ...]
    positions: tuple[str, ...]
    symbol_file: str
    disassembly: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Context:
    """What a place is looked up in."""

    place: Place
    arch: str
    symbols: SymbolTable
    image: KernelImage | None
    dwarf: LineTable | None

    def error(self, message: str) -> ConfigurationError:
        return ConfigurationError(f"place {self.place}: {message}")


@dataclass(frozen=True)
class _Function:
    """A function's symbol, and the instructions of each of its parts."""

    symbol: Symbol
    parts: tuple[tuple[Symbol, tuple[Instruction, ...]], ...]

    @property
    def instructions(self) -> list[Instruction]:
        return [insn for _, part in self.parts for insn in part]

    def holds(self, address: int) -> bool:
        return any(p and p[0].address <= address < p[-1].end for _, p in self.parts)

    def shown(self, address: int) -> str:
        for symbol, part in self.parts:
            if part and part[0].address <= address < part[-1].end:
                return f"{symbol.name}+{address - symbol.address:#x}"
        return f"{self.symbol.name}+{address - self.symbol.address:#x}"


def resolve(
    place: Place,
    *,
    arch: str,
    symbols: SymbolTable,
    image: KernelImage | None,
    workload_elf: bytes | None = None,
    dwarf: LineTable | None = None,
) -> ResolvedPlace:
    """Find the addresses of a place.

    `arch` is "x86_64", "i386", "arm64" or "ppc64le"; `symbols` and `image` are the kernel's, both
    as linked or booted with `nokaslr`; `dwarf` its source lines, or those of the place's module. A
    place in the workload is looked up in `workload_elf` instead. Without an image only entries and
    offsets can be found, and they come without disassembly.

    Raises ConfigurationError that says why a place was not found, with the nearest candidates.
    """
    in_workload = place.in_workload
    if in_workload:
        if workload_elf is None:
            raise ConfigurationError(
                f"place {place}: there is no workload program to look it up in"
            )
        symbols, image, dwarf = _workload(place, workload_elf, arch)
    context = _Context(place, arch, symbols, image, dwarf)
    if isinstance(place, FunctionPlace):
        return _resolve_in_function(context, place)
    if isinstance(place, LinePlace):
        return _resolve_line(context, place)
    return _resolved(context, (place.address,), _function_holding(context, place.address))


def _workload(
    place: Place, elf: bytes, arch: str
) -> tuple[SymbolTable, KernelImage, LineTable | None]:
    image = KernelImage.from_elf(elf, "the workload")
    if image.arch != arch:
        raise ConfigurationError(
            f"place {place}: the workload is built for {image.arch}, the guest is {arch}"
        )
    if image.is_relocatable:
        raise ConfigurationError(
            f"place {place}: the workload is position-independent, so its addresses differ from "
            "run to run: build it with -static -no-pie"
        )
    dwarf = LineTable.from_elf(elf, "the workload") if isinstance(place, LinePlace) else None
    return SymbolTable.from_elf(elf, "the workload"), image, dwarf


def _resolve_in_function(context: _Context, place: FunctionPlace) -> ResolvedPlace:
    symbol = _symbol_of(context, place)
    position = place.position
    notes: tuple[str, ...] = ()
    if symbol.name != place.function and not place.is_syscall:
        notes = (f"{place.function} is there only as the compiler's clone {symbol.name}",)
    if isinstance(position, Entry):
        address = _entry(context, symbol)
        return _resolved(context, (address,), _function_if_there(context, symbol), notes)
    if isinstance(position, Offset):
        return _resolve_offset(context, symbol, position, notes)
    function = _function(context, symbol)
    if isinstance(position, Return):
        return _resolve_return(context, function, notes)
    return _resolve_call(context, function, position, notes)


def _symbol_of(context: _Context, place: FunctionPlace) -> Symbol:
    if not place.is_syscall:
        try:
            return context.symbols.function(place.function, place.module)
        except ConfigurationError as error:
            raise ConfigurationError(f"{error}{_inlined_hint(context, place.function)}") from None
    forms = (*_SYSCALL_NAMES.get(context.arch, ()), *_SYSCALL_NAMES_ANYWHERE)
    names = [form.format(place.function) for form in forms]
    for name in names:
        if found := context.symbols.functions(name):
            return found[0]
    near = context.symbols.nearest(names[-len(_SYSCALL_NAMES_ANYWHERE) - 1])
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise context.error(f"{context.symbols.source} has none of {', '.join(names)}{hint}")


def _inlined_hint(context: _Context, name: str, near: int | None = None) -> str:
    if context.dwarf is None:
        return ""
    into = context.dwarf.functions_inlining(name, near)
    if not into:
        return ""
    more = f" and {len(into) - _MANY} more" if len(into) > _MANY else ""
    return f"; {context.dwarf.source} says it is inlined in {', '.join(into[:_MANY])}{more}"


def _entry(context: _Context, symbol: Symbol) -> int:
    """The instruction that each call of the function executes, by whichever entry."""
    if context.arch == "ppc64le":
        if context.image is None or not context.image.has(symbol.address, 8):
            file = f"module {symbol.module}'s .ko file" if symbol.module else "the kernel's image"
            raise context.error(f"the local entry point is seen only in the code: give {file}")
        return symbol.address + _local_entry(context.image, symbol.address)
    return symbol.address


def _function_if_there(context: _Context, symbol: Symbol) -> _Function:
    """For places that need no disassembly: without it if the code is not at hand."""
    if context.image is None or (symbol.module and not context.image.has(symbol.address, 1)):
        return _Function(symbol, ())
    return _function(context, symbol)


def _function(context: _Context, symbol: Symbol) -> _Function:
    if context.image is None:
        raise context.error("it is found by disassembly, and there is no kernel image to read")
    parts = []
    for part in (symbol, *context.symbols.cold_parts(symbol.name, symbol.module)):
        if part.module and not context.image.has(part.address, 1):
            raise context.error(
                f"the code of {part.name} is not in the kernel's image: give module "
                f"{part.module}'s .ko file as well"
            )
        start, end = _extent(context, part)
        if end - start > _LONGEST_FUNCTION:
            raise context.error(f"{part.name} would be {end - start} bytes long: no function")
        code = context.image.read(start, end - start)
        instructions = disassemble(context.arch, code, start)
        parts.append((part, tuple(_relocated(context.image, insn) for insn in instructions)))
    return _Function(symbol, tuple(parts))


def _extent(context: _Context, symbol: Symbol) -> tuple[int, int]:
    """As the symbols say, but not beyond the code: the next symbol can be in another section."""
    segment = context.image.segment_at(symbol.address) if context.image else None
    if segment is None:
        return context.symbols.extent_of(symbol)
    if context.symbols.is_last(symbol):
        return symbol.address, segment.end
    start, end = context.symbols.extent_of(symbol)
    return start, min(end, segment.end)


def _relocated(image: KernelImage, insn: Instruction) -> Instruction:
    """A module's call has its target in a relocation, on x86 some bytes into the instruction."""
    if insn.target is None or not image.branch_targets:
        return insn
    for at in range(insn.address, insn.end):
        if at in image.branch_targets:
            target = image.branch_targets[at]
            return replace(insn, target=target, text=f"{insn.text.split()[0]} {target:#x}")
    return insn


def _function_holding(context: _Context, address: int) -> _Function:
    found = context.symbols.find(address)
    if found is None:
        raise context.error(f"no function of {context.symbols.source} holds {address:#x}")
    symbol = found[0]
    function = _function_if_there(context, symbol)
    _refuse_middle_of_instruction(context, function, address)
    return function


def _resolve_offset(
    context: _Context, symbol: Symbol, position: Offset, notes: tuple[str, ...]
) -> ResolvedPlace:
    start, end = _extent(context, symbol)
    size = end - start
    if position.size is not None and position.size != size:
        raise context.error(
            f"{symbol.name} is {size:#x} bytes long in {context.symbols.source}, not "
            f"{position.size:#x}: the place was written for another build"
        )
    if position.bytes >= size:
        raise context.error(
            f"{symbol.name} is only {size:#x} bytes long in {context.symbols.source}"
        )
    address = start + position.bytes
    function = _function_if_there(context, symbol)
    _refuse_middle_of_instruction(context, function, address)
    return _resolved(context, (address,), function, notes)


def _refuse_middle_of_instruction(context: _Context, function: _Function, address: int) -> None:
    for insn in function.instructions:
        if insn.address < address < insn.end:
            raise context.error(
                f"it is inside an instruction: `{insn.text}` is at {function.shown(insn.address)}"
                f", the next one at {function.shown(insn.end)}"
            )


def _resolve_return(
    context: _Context, function: _Function, notes: tuple[str, ...]
) -> ResolvedPlace:
    thunks = {s.address for name in _RETURN_THUNKS for s in context.symbols.functions(name)}
    returns = tuple(
        insn.address
        for insn in function.instructions
        if insn.flow is Flow.RETURN or (insn.flow is Flow.JUMP and insn.target in thunks)
    )
    tails = [i for i in _tail_jumps(function) if i.target not in thunks]
    shown = ", ".join(_shown_jump(context, function, insn) for insn in tails[:_MANY])
    if not returns:
        if tails:
            raise context.error(
                f"{function.symbol.name} has no return of its own, it ends in tail jumps "
                f"({shown}): use symbol+0x... of one, or the return of the function jumped to"
            )
        raise context.error(f"{function.symbol.name} never returns")
    if tails:
        notes += (f"not covered: it also leaves by tail jumps: {shown}",)
    return _resolved(context, returns, function, notes)


def _resolve_call(
    context: _Context, function: _Function, position: After | Call, notes: tuple[str, ...]
) -> ResolvedPlace:
    targets = _callee_addresses(context, position.callee)
    calls = [
        insn
        for insn in function.instructions
        if insn.flow is Flow.CALL and insn.target is not None and insn.target in targets
    ]
    if not calls:
        raise context.error(_why_no_call(context, function, position, targets))
    ordinal = position.ordinal
    if ordinal is None and len(calls) > 1:
        listed = "; ".join(
            f"{n}: {function.shown(insn.address)}" for n, insn in enumerate(calls, start=1)
        )
        choice = type(position)(position.callee, 2)
        raise context.error(
            f"{function.symbol.name} calls {position.callee} {len(calls)} times ({listed}); say "
            f"which one, as in {function.symbol.name}{choice}"
        )
    if ordinal is not None and ordinal > len(calls):
        raise context.error(
            f"{function.symbol.name} calls {position.callee} only {len(calls)} times"
        )
    call = calls[(ordinal or 1) - 1]
    if isinstance(position, Call):
        return _resolved(context, (call.address,), function, notes)
    if not function.holds(call.end):
        raise context.error(
            f"the call at {function.shown(call.address)} is the function's last instruction: "
            f"{position.callee} never returns"
        )
    joining = [insn for insn in function.instructions if insn.target == call.end]
    if joining:
        came = ", ".join(function.shown(insn.address) for insn in joining[:_MANY])
        notes += (f"also reached without this call, by jumps from {came}",)
    return _resolved(context, (call.end,), function, notes)


def _callee_addresses(context: _Context, callee: str) -> set[int]:
    """All addresses that a call of a function can go to: aliases, clones, local entries."""
    addresses = {symbol.address for symbol in context.symbols.functions_anywhere(callee)}
    if context.arch == "ppc64le" and context.image is not None:
        addresses |= {a + _local_entry(context.image, a) for a in addresses}
    return addresses


def _local_entry(image: KernelImage, address: int) -> int:
    """The callee can be in a module whose file is not given: then its entry is not seen."""
    return ppc64le_local_entry(image.read(address, 8)) if image.has(address, 8) else 0


def _why_no_call(
    context: _Context, function: _Function, position: After | Call, targets: set[int]
) -> str:
    name, callee = function.symbol.name, position.callee
    for insn in _tail_jumps(function):
        if insn.target in targets:
            return (
                f"{name} does not call {callee} but leaves by a tail jump to it at "
                f"{function.shown(insn.address)}, so nothing comes after: use {callee}:return, or "
                f"that address"
            )
    called = {
        _name_of(context, insn.target): None
        for insn in function.instructions
        if insn.flow is Flow.CALL and insn.target is not None
    }
    listing = ", ".join(list(called)[:40]) + (" ..." if len(called) > 40 else "")
    if targets:
        why = f"{name} has no direct call of {callee}"
    else:
        near = context.symbols.nearest(callee)
        hint = f" (nearest: {', '.join(near)})" if near else ""
        why = f"there is no function {callee}{hint}, so it is inlined or the name is wrong"
    why += _inlined_hint(context, callee, function.symbol.address)
    return f"{why}; {name} calls: {listing or 'nothing'}"


def _tail_jumps(function: _Function) -> list[Instruction]:
    return [
        insn
        for insn in function.instructions
        if insn.flow is Flow.JUMP and insn.target is not None and not function.holds(insn.target)
    ]


def _shown_jump(context: _Context, function: _Function, insn: Instruction) -> str:
    assert insn.target is not None  # tail jumps are direct
    return f"{function.shown(insn.address)} to {_name_of(context, insn.target)}"


def _name_of(context: _Context, address: int) -> str:
    found = context.symbols.find(address)
    if found is None:
        return f"{address:#x}"
    symbol, offset = found
    is_local_entry = context.arch == "ppc64le" and offset == 8
    return symbol.name if not offset or is_local_entry else f"{symbol.name}+{offset:#x}"


def _resolve_line(context: _Context, place: LinePlace) -> ResolvedPlace:
    if context.dwarf is None:
        raise context.error(
            "source lines need DWARF: give the vmlinux with debugging information (the "
            "distribution's -dbg package, or CONFIG_DEBUG_INFO=y)"
        )
    every = context.dwarf.addresses(place.file, place.line)
    if not every:
        raise context.error(context.dwarf.why_no_code(place.file, place.line))
    rows = [row for row in every if context.symbols.find(row) is not None]
    if not rows:
        raise context.error(
            f"the line's code is not in {context.symbols.source}: what only initialises a module "
            "is freed once that is done"
        )
    # One address a function: a line's later rows are loops and reordered pieces of it.
    first: dict[str, int] = {}
    for address in rows:
        found = context.symbols.find(address)
        first.setdefault(found[0].name if found else f"{address:#x}", address)
    addresses = tuple(first.values())
    dropped = len(rows) - len(addresses)
    notes: tuple[str, ...] = ()
    if dropped:
        notes = (f"the line has {dropped} further pieces of code; the first a function is taken",)
    if len(first) > 1:
        notes += (f"the line is in {len(first)} functions: {', '.join(first)}",)
    return _resolved(context, addresses, _function_holding(context, addresses[0]), notes)


def _resolved(
    context: _Context,
    addresses: Sequence[int],
    function: _Function,
    notes: tuple[str, ...] = (),
) -> ResolvedPlace:
    lines: list[str] = []
    positions: list[str] = []
    for address in addresses:
        holder = function
        if function.parts and not function.holds(address):
            holder = _function_holding(context, address)
        positions.append(holder.shown(address))
        block = _around(context, holder, address)
        if block and lines:
            lines.append("")
        lines += block
    return ResolvedPlace(
        place=context.place,
        addresses=tuple(addresses),
        function=function.symbol.name,
        offsets=tuple(address - function.symbol.address for address in addresses),
        positions=tuple(positions),
        symbol_file=context.symbols.source,
        disassembly=tuple(lines),
        notes=notes,
    )


def _around(context: _Context, function: _Function, address: int) -> list[str]:
    for symbol, part in function.parts:
        for index, insn in enumerate(part):
            if insn.address == address:
                window = part[max(0, index - _AROUND) : index + _AROUND + 1]
                return [_line(context, symbol, i, is_place=i is insn) for i in window]
    return []


def _line(context: _Context, symbol: Symbol, insn: Instruction, *, is_place: bool) -> str:
    where = f"{symbol.name}+{insn.address - symbol.address:#x}"
    target = f" <{_name_of(context, insn.target)}>" if insn.target is not None else ""
    return f"{'=>' if is_place else '  '} {insn.address:x}  {where}  {insn.text}{target}"
