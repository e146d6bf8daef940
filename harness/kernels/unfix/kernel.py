# SPDX-License-Identifier: BSD-2-Clause
"""A kernel with a binary patch made in it, kept by content beside the other kernels."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.errors import ConfigurationError
from harness.files import file_hash, make_folder_once
from harness.kernels.kernel import Kernel
from harness.kernels.unfix.description import BinaryPatch, load_binary_patch
from harness.kernels.unfix.patch import Change, Patched, apply_binary_patch
from harness.progress import Say

CHANGES = "changes.txt"
_VERSION = b"1"
"""To be raised when the same description would give other bytes."""


def patched_kernel(kernel: Kernel, description: Path, cache: Path, say: Say) -> Kernel:
    """The kernel, whose image must be an ELF file, with the patch of a description made in it.

    Beside the new image is changes.txt, with every changed byte. Raises ConfigurationError if the
    description is wrong or the kernel's code is not as it expects; InfrastructureError without an
    assembler.
    """
    patch = load_binary_patch(description)
    key = hashlib.sha256(_VERSION + description.read_bytes() + kernel.identity.encode())
    folder = make_folder_once(
        cache / "kernels" / f"unfix-{key.hexdigest()[:24]}",
        partial(_fill, kernel=kernel, description=description, patch=patch, say=say),
    )
    image = folder / kernel.image.name
    return replace(
        kernel,
        label=f"{kernel.label} ({patch.label})",
        identity=file_hash(image),
        image=image,
    )


def _fill(folder: Path, *, kernel: Kernel, description: Path, patch: BinaryPatch, say: Say) -> None:
    say(f"changing {patch.function} in {kernel.label}: {patch.title}")
    content = kernel.image.read_bytes()
    try:
        patched = apply_binary_patch(patch, content, kernel.label)
    except ConfigurationError as error:
        raise ConfigurationError(f"{description}: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / kernel.image.name).write_bytes(patched.content)
    (folder / CHANGES).write_text(changes_as_text(patched, kernel.label, patch.title))


def changes_as_text(patched: Patched, label: str, title: str) -> str:
    """Every changed byte with its address, and the instructions before and after."""
    many = sum(change.changed for change in patched.changes)
    lines = [
        f"{label}: {title}",
        f"{many} bytes of {patched.function} at {patched.address:#x} are changed",
    ]
    for change in patched.changes:
        lines += ["", f"{change.name}: {change.about}" if change.about else change.name]
        lines += [f"  - {text}" for text in change.before_text]
        lines += [f"  + {text}" for text in change.after_text]
        lines += [f"  {line}" for line in _bytes(change)]
    return "\n".join(lines) + "\n"


def _bytes(change: Change) -> list[str]:
    return [
        f"{change.address + at:#x}: {before:02x} -> {after:02x}"
        for at, (before, after) in enumerate(zip(change.before, change.after, strict=True))
        if before != after
    ]
