# SPDX-License-Identifier: BSD-2-Clause
"""Workloads compiled in a full image, by the cc(1) that it brings; kept by content."""

import tempfile
from pathlib import Path

from harness.errors import ConfigurationError
from harness.kernels.toolchain import WORKLOAD_BASE, program_file
from harness.plan.needs import TargetUserlandModel
from harness.progress import Say
from harness.qemu.accelerator import choose_accelerator
from harness.qemu.guest import GuestFiles, GuestPlan, RunningGuest, started_guest
from harness.systems.base import ImageOrder, WorkloadOrder
from harness.systems.freebsd.full_image import find_image, full_image, prepared_image
from harness.systems.guest_compile import ON_THE_HOST, keep_program, run_compiler
from harness.systems.machine import machine_of

_FLAGS = (
    "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-pthread", "-static", "-fno-pie",
    f"-Wl,--image-base={WORKLOAD_BASE:#x}",
)  # fmt: skip
"""For clang and lld, which releases since 12 have as their compiler. With -static, clang warns of
-no-pie, which under a target's -Werror is an error."""
_SOURCES = "/tmp/harness-src"
_PROGRAM = f"{_SOURCES}/program.out"
_MORE_ROOM = "raise memory_mib of the guest's [machine], or take a larger image"


async def compile_in_image(order: WorkloadOrder, cache: Path, say: Say) -> Path:
    """The program, from the cache or compiled in a guest that is booted for it.

    Raises ConfigurationError with the compiler's own message where the source is wrong, and for an
    image without a compiler; GuestError; InfrastructureError where the guest ran out of room.
    """
    guest = order.guest
    image = find_image(guest, cache, say)
    ingredients = ["in the image", image.identity, guest.arch, *_FLAGS, *order.flags]
    program = program_file(order.source, order.source.parent, cache, ingredients)
    if program.exists():
        return program
    if order.kernel is None:
        raise ConfigurationError(f"no kernel to boot {guest.title} with; {ON_THE_HOST}")
    kernel = order.kernel()
    if prepared_image(guest, kernel, cache, say).facts.compiler == "none":
        raise ConfigurationError(f"the image {image.label} has no compiler, cc(1); {ON_THE_HOST}")
    booted = full_image(ImageOrder(guest, kernel, TargetUserlandModel()), cache, say)
    model = guest.machine
    machine = machine_of(model, choose_accelerator(model.accelerator, model.qemu, say))
    plan = GuestPlan(machine, booted.boot, guest.boot.seconds, login=booted.login)
    say(f"compiling {order.source.name} in {image.label}")
    with tempfile.TemporaryDirectory(prefix="harness-compile-") as folder:
        async with started_guest(plan, GuestFiles.within(Path(folder))) as running:
            content = await _compile(running, order)
    return keep_program(program, content)


async def _compile(guest: RunningGuest, order: WorkloadOrder) -> bytes:
    source = order.source
    await guest.channel.check(f"mkdir -p {_SOURCES}")
    for file in (source, *sorted(source.parent.glob("*.h"))):
        await guest.channel.put(file, f"{_SOURCES}/{file.name}", 0o644)
    words = ["cc", "-o", _PROGRAM, f"{_SOURCES}/{source.name}", *_FLAGS, *order.flags]
    words += ["-I", _SOURCES]
    await run_compiler(guest.channel, order, words, _SOURCES, _MORE_ROOM)
    return await guest.channel.get(_PROGRAM)
