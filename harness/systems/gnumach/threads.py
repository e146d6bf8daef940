# SPDX-License-Identifier: BSD-2-Clause
"""GNU Mach's threads read out of a stopped guest: where each waits, and for what.

Everything is found by the names in kern/ and vm/ of gnumach and the kernel's own DWARF: task.h,
thread.h, processor.h, lock.h, vm_page.h, x86's thread.h (i386_kernel_state) and percpu.h.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from harness.errors import ConfigurationError
from harness.hangs.cfi import FrameTables
from harness.hangs.evidence import Awaited, GuestThread, StackFrame
from harness.hangs.stack import function_at
from harness.hangs.view import GuestView
from harness.places.structures import Structures
from harness.places.symbols import SymbolTable

_MOST = 4096
"""Entries of any list: a torn one must not be followed for ever."""
_NAME_BYTES = 32

# kern/thread.h: TH_WAIT and so on
_STATES = {
    0x01: "waiting",
    0x02: "suspended",
    0x04: "running",
    0x08: "uninterruptible",
    0x10: "halted",
    0x80: "idle",
    0x100: "swapped out",
    0x200: "swapping in",
}
_RUNNING, _NO_STACK = 0x04, 0x300

# Functions of kern/lock.c that sleep until a lock is free: the event is the lock.
_LOCK_SLEEPERS = frozenset({"lock_write", "lock_read", "lock_read_to_write", "lock_write_to_read"})
_MAPS = ("ipc_kernel_map", "kernel_map", "device_io_map", "kalloc_map")
"""Variables that point at maps of the kernel's own."""
_LOCK_FIELDS = ("want_write", "want_upgrade", "read_count", "waiting", "recursion_depth")
_PAGE_FIELDS = ("busy", "wanted", "absent", "wire_count", "tabled", "fictitious", "error")
_SAVED = {
    "x86_64": {"rbx": "k_ebx", "rbp": "k_ebp", "rsp": "k_esp", "r12": "k_r12", "r13": "k_r13",
               "r14": "k_r14", "r15": "k_r15"},
    "i386": {"ebx": "k_ebx", "ebp": "k_ebp", "esp": "k_esp", "edi": "k_edi", "esi": "k_esi"},
}  # fmt: skip


@dataclass(frozen=True)
class MachKernel:
    """What must be known of a kernel to find its threads."""

    symbols: SymbolTable
    frames: FrameTables
    scheduling: Structures
    stacks: Structures
    sets: Structures
    paging: Structures
    physical: Structures

    @classmethod
    def from_elf(cls, data: bytes, arch: str, source: str) -> "MachKernel":
        """Raises ConfigurationError for a kernel without symbols, DWARF or frame tables."""
        symbols = SymbolTable.from_elf(data, source)

        def around(function: str) -> Structures:
            return Structures.around(data, symbols.address_of(function), source)

        return cls(
            symbols=symbols,
            frames=FrameTables.from_elf(data, arch, source),
            scheduling=around("thread_block"),
            stacks=around("stack_attach"),
            sets=around("processor_set_create"),
            paging=around("vm_fault_page"),
            physical=around("vm_page_lookup_pa"),
        )

    def variable(self, name: str) -> int | None:
        """The address of a variable; None if this kernel has none of that name."""
        found = self.symbols.named(name)
        return found[0].address if found else None


async def guest_threads(kernel: MachKernel, view: GuestView) -> tuple[GuestThread, ...]:
    """Every thread of every task, the tasks of users first. The guest must be stopped.

    Raises ConfigurationError where the kernel's structures are not as expected.
    """
    walk = _Walk(kernel, view)
    await walk.prepare()
    found = [
        (task == walk.kernel_task, await walk.thread(task, number, thread))
        async for task in walk.tasks()
        for number, thread in enumerate(await walk.threads_of(task), start=1)
    ]
    return tuple(thread for _, thread in sorted(found, key=lambda one: one[0]))


class _Walk:
    """One look at one guest."""

    def __init__(self, kernel: MachKernel, view: GuestView) -> None:
        self.kernel = kernel
        self.view = view
        self.kernel_task = 0
        self._active: dict[int, int] = {}
        """Which vCPU runs a thread, by the thread's address."""
        self._state_offset: int | None = None
        self._maps: dict[int, str] = {}
        self._pages: list[tuple[int, int]] = []

    async def prepare(self) -> None:
        """Reads what holds for all threads."""
        kernel_task = self.kernel.variable("kernel_task")
        self.kernel_task = await self.view.pointer(kernel_task) if kernel_task else 0
        await self._read_processors()
        await self._read_maps()
        await self._read_page_tables()

    async def _read_processors(self) -> None:
        percpu = self.kernel.variable("percpu_array")
        stack_top = self.kernel.variable("kernel_stack")
        if percpu is None or stack_top is None:
            raise ConfigurationError(f"{self.kernel.symbols.source}: no percpu_array, kernel_stack")
        of, layout = self.kernel.scheduling, self.kernel.stacks
        size, word = of.size("percpu"), of.field("percpu", "active_thread").size
        reserved = layout.size("i386_exception_link")
        for index in range(len(self.view.registers)):
            cpu = percpu + index * size
            thread = await self.view.number(cpu, of.field("percpu", "active_thread"))
            stack = await self.view.number(cpu, of.field("percpu", "active_stack"))
            vcpu = await self.view.number(cpu, of.field("percpu", "apic_id"))
            top = await self.view.pointer(stack_top + index * word)
            if thread:
                self._active[thread] = vcpu
            if stack and top > stack:
                # STACK_IKS: the registers are at the very end, behind the exception link
                self._state_offset = top - stack + reserved

    async def _read_maps(self) -> None:
        lock = self.kernel.paging.field("vm_map", "lock").offset
        for name in _MAPS:
            variable = self.kernel.variable(name)
            if variable is not None and (address := await self.view.pointer(variable)):
                self._maps[address + lock] = name
        async for task in self.tasks():
            address = await self.view.number(task, self.kernel.scheduling.field("task", "map"))
            self._maps.setdefault(address + lock, f"map of {await self.task_name(task)}")

    async def _read_page_tables(self) -> None:
        segments = self.kernel.variable("vm_page_segs")
        many = self.kernel.variable("vm_page_segs_size")
        if segments is None or many is None:
            return
        of = self.kernel.physical
        size = of.size("vm_page_seg")
        count = int.from_bytes(await self.view.read(many, 4), "little")
        for index in range(min(count, 16)):
            start = await self.view.number(
                segments + index * size, of.field("vm_page_seg", "pages")
            )
            end = await self.view.number(
                segments + index * size, of.field("vm_page_seg", "pages_end")
            )
            self._pages.append((start, end))

    async def tasks(self) -> AsyncIterator[int]:
        """The addresses of all tasks, by their processor sets."""
        head = self.kernel.variable("all_psets")
        if head is None:
            raise ConfigurationError(f"{self.kernel.symbols.source}: no variable all_psets")
        sets = self.kernel.sets
        async for processors in self._queue(head, sets.field("processor_set", "all_psets").offset):
            tasks = processors + sets.field("processor_set", "tasks").offset
            async for task in self._queue(tasks, sets.field("task", "pset_tasks").offset):
                yield task

    async def threads_of(self, task: int) -> list[int]:
        """The addresses of a task's threads, the oldest first."""
        of = self.kernel.scheduling
        head = task + of.field("task", "thread_list").offset
        chain = of.field("thread", "thread_list").offset
        return [thread async for thread in self._queue(head, chain)]

    async def _queue(self, head: int, chain: int) -> AsyncIterator[int]:
        """kern/queue.h: links point at the elements themselves, whose own link is at `chain`."""
        element = await self.view.pointer(head)
        for _ in range(_MOST):
            if element in (0, head):
                return
            yield element
            element = await self.view.pointer(element + chain)

    async def task_name(self, task: int) -> str:
        """A task's name in quotes, or its address."""
        at = self.kernel.scheduling.field("task", "name")
        name = await self.view.text(task + at.offset, at.size or _NAME_BYTES)
        return f"task {name!r}" if name else f"task {task:#x}"

    async def thread(self, task: int, number: int, thread: int) -> GuestThread:
        """All that is kept of one thread."""
        of = self.kernel.scheduling
        at = of.field("thread", "name")
        own_name = await self.view.text(thread + at.offset, at.size or _NAME_BYTES)
        state = await self.view.number(thread, of.field("thread", "state"))
        vcpu = self._active.get(thread) if state & _RUNNING else None
        stack = await self._stack(thread, state, vcpu)
        event = await self.view.number(thread, of.field("thread", "wait_event"))
        named = f" {own_name!r}" if own_name else ""
        return GuestThread(
            name=f"thread {number}{named} of {await self.task_name(task)} ({thread:#x})",
            state=", ".join(word for bit, word in _STATES.items() if state & bit) or "none",
            stack=stack,
            awaits=await self._awaited(event, stack) if event else None,
            vcpu=vcpu,
        )

    async def _stack(self, thread: int, state: int, vcpu: int | None) -> tuple[StackFrame, ...]:
        of, layout = self.kernel.scheduling, self.kernel.stacks
        if vcpu is not None and vcpu < len(self.view.registers):
            registers = self.view.registers[vcpu]
            pc = registers.get("rip", registers.get("eip", 0))
            if registers.get("cs", 0) & 3:
                return (StackFrame(pc),)
            return await self._unwound(pc, registers, is_return_address=False)
        stack = await self.view.number(thread, of.field("thread", "kernel_stack"))
        if state & _NO_STACK or not stack or self._state_offset is None:
            continuation = await self.view.number(thread, of.field("thread", "swap_func"))
            return (self._frame(continuation, 0),) if continuation else ()
        saved = stack + self._state_offset
        registers = {
            name: await self.view.number(saved, layout.field("i386_kernel_state", kept))
            for name, kept in _SAVED[self.view.arch].items()
        }
        pc = await self.view.number(saved, layout.field("i386_kernel_state", "k_eip"))
        return await self._unwound(pc, registers, is_return_address=True)

    async def _unwound(
        self, pc: int, registers: Mapping[str, int], *, is_return_address: bool
    ) -> tuple[StackFrame, ...]:
        frames = await self.kernel.frames.unwind(
            pc, registers, self.view.read, is_return_address=is_return_address
        )
        return tuple(
            self._frame(frame.pc, int(depth > 0 or is_return_address))
            for depth, frame in enumerate(frames)
            if depth == 0 or function_at(self.kernel.symbols, frame.pc - 1) is not None
        )

    def _frame(self, address: int, back: int) -> StackFrame:
        found = function_at(self.kernel.symbols, address - back)
        if found is None:
            return StackFrame(address)
        return StackFrame(address, found[0].name, found[1] + back)

    async def _awaited(self, event: int, stack: tuple[StackFrame, ...]) -> Awaited:
        functions = {frame.function for frame in stack}
        if any(start <= event < end for start, end in self._pages):
            return await self._page(event)
        if functions & _LOCK_SLEEPERS:
            return await self._lock(event)
        return Awaited("event", event, self._data_name(event))

    async def _lock(self, address: int) -> Awaited:
        of = self.kernel.paging
        state = {
            name: await self.view.number(address, of.field("lock", name)) for name in _LOCK_FIELDS
        }
        name = self._maps.get(address)
        return Awaited(
            "lock", address, f"lock of {name}" if name else self._data_name(address), state
        )

    async def _page(self, address: int) -> Awaited:
        of = self.kernel.paging
        state = {
            name: await self.view.number(address, of.field("vm_page", name))
            for name in _PAGE_FIELDS
        }
        of_object = await self.view.number(address, of.field("vm_page", "object"))
        offset = await self.view.number(address, of.field("vm_page", "offset"))
        return Awaited("page", address, f"offset {offset:#x} of object {of_object:#x}", state)

    def _data_name(self, address: int) -> str:
        """The variable that holds an address, and the offset in it."""
        for symbol in self.kernel.symbols.symbols:
            if symbol.address <= address < symbol.address + symbol.size:
                offset = address - symbol.address
                return f"{symbol.name}+{offset:#x}" if offset else symbol.name
        return ""
