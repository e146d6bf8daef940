# SPDX-License-Identifier: BSD-2-Clause
"""Workloads compiled in a full image, by the cc(1) that it brings; kept by content."""

import asyncio
import os
import re
import shlex
import tempfile
from pathlib import Path

from harness.errors import ConfigurationError, GuestError, InfrastructureError
from harness.kernels.toolchain import WORKLOAD_BASE, program_file
from harness.plan.needs import TargetUserlandModel
from harness.progress import Say
from harness.qemu.accelerator import choose_accelerator
from harness.qemu.guest import GuestFiles, GuestPlan, RunningGuest, started_guest
from harness.systems.base import ImageOrder, WorkloadOrder
from harness.systems.freebsd.full_image import find_image, full_image, prepared_image
from harness.systems.machine import machine_of

_FLAGS = (
    "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-pthread", "-static", "-fno-pie", "-no-pie",
    f"-Wl,--image-base={WORKLOAD_BASE:#x}",
)  # fmt: skip
"""For clang and lld, which releases since 12 have as their compiler."""
_SOURCES = "/tmp/harness-src"
_PROGRAM = f"{_SOURCES}/program.out"
_COMPILE_SECONDS = 900.0
_NO_ROOM = re.compile(r"[Nn]o space left on device|filesystem full|Cannot allocate memory|Killed")
_HOST = "--compile host compiles on the host"


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
        raise ConfigurationError(f"no kernel to boot {guest.title} with; {_HOST}")
    kernel = order.kernel()
    if prepared_image(guest, kernel, cache, say).facts.compiler == "none":
        raise ConfigurationError(f"the image {image.label} has no compiler, cc(1); {_HOST}")
    booted = full_image(ImageOrder(guest, kernel, TargetUserlandModel()), cache, say)
    model = guest.machine
    machine = machine_of(model, choose_accelerator(model.accelerator, model.qemu, say))
    plan = GuestPlan(machine, booted.boot, guest.boot.seconds, login=booted.login)
    say(f"compiling {order.source.name} in {image.label}")
    with tempfile.TemporaryDirectory(prefix="harness-compile-") as folder:
        async with started_guest(plan, GuestFiles.within(Path(folder))) as running:
            content = await _compile(running, order)
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_name(f".{program.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.chmod(0o755)
    unfinished.rename(program)
    return program


async def _compile(guest: RunningGuest, order: WorkloadOrder) -> bytes:
    source = order.source
    await guest.channel.check(f"mkdir -p {_SOURCES}")
    for file in (source, *sorted(source.parent.glob("*.h"))):
        await guest.channel.put(file, f"{_SOURCES}/{file.name}", 0o644)
    words = ["cc", "-o", _PROGRAM, f"{_SOURCES}/{source.name}", *_FLAGS, *order.flags]
    words += ["-I", _SOURCES]
    try:
        async with asyncio.timeout(_COMPILE_SECONDS):
            done = await guest.channel.run(f"{shlex.join(words)} 2>&1")
    except TimeoutError as error:
        raise InfrastructureError(
            f"compiling {source.name} in the guest was not done after {_COMPILE_SECONDS:g} s; "
            f"{_HOST}"
        ) from error
    if done.status != 0:
        raise failure(order, done.status, done.output.decode(errors="replace").strip())
    return await guest.channel.get(_PROGRAM)


def failure(
    order: WorkloadOrder, status: int, said: str
) -> ConfigurationError | InfrastructureError | GuestError:
    """What to raise where the compiler ended with `status` (not 0); `said` is its output."""
    said = said.replace(f"{_SOURCES}/", f"{order.source.parent}/")
    if _NO_ROOM.search(said):
        return InfrastructureError(
            f"compiling {order.source.name} in the guest ran out of memory or room: raise "
            f"memory_mib of the guest's [machine], or take a larger image; {_HOST}\n{said}"
        )
    if status in (126, 127):
        return GuestError(f"the compiler does not run in the guest: {said}; {_HOST}")
    return ConfigurationError(f"{order.source} does not compile:\n{said}")
