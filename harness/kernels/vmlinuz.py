# SPDX-License-Identifier: BSD-2-Clause
"""The uncompressed kernel inside a bootable Linux image.

Formats: x86 bzImage (Documentation/arch/x86/boot.rst: setup_sects, payload_offset and
payload_length, protocol 2.08 and later), arm64 Image (Documentation/arch/arm64/booting.rst), the
EFI zboot image (drivers/firmware/efi/libstub/zboot-header.S), and any of these or an ELF file
compressed as a whole (Image.gz).
"""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable

import lz4.block
import zstandard

from harness.errors import ConfigurationError

ELF_MAGIC = b"\x7fELF"

_SETUP_SECTS = 0x1F1
_BOOT_MAGIC = 0x202
_VERSION = 0x206
_PAYLOAD_OFFSET = 0x248
_HEADER_END = 0x250
_SECTOR = 512
_OLDEST_PROTOCOL = 0x208

_ARM64_MAGIC = 0x38
_LZ4_LEGACY_MAGIC = b"\x02\x21\x4c\x18"
_LZ4_LEGACY_BLOCK = 8 << 20  # lz4's programs/lz4io.c, LEGACY_BLOCKSIZE


def extract_vmlinux(data: bytes) -> bytes:
    """The ELF vmlinux, or arm64 raw Image, that the bytes of a kernel file hold.

    An ELF file or a raw arm64 Image comes back as it is. Raises ConfigurationError if the format
    is not known, the boot protocol too old, or the payload damaged.
    """
    if data.startswith(ELF_MAGIC) or is_arm64_image(data):
        return data
    if data[_BOOT_MAGIC : _BOOT_MAGIC + 4] == b"HdrS" and len(data) >= _HEADER_END:
        return _kernel_inside(_bzimage_payload(data), "the bzImage's payload")
    if data[:2] == b"MZ" and data[4:8] == b"zimg":
        offset, size = struct.unpack_from("<II", data, 8)
        return _kernel_inside(data[offset : offset + size], "the EFI zboot image's payload")
    if _decompressor_for(data) is not None:
        return _kernel_inside(data, "the compressed file")
    raise ConfigurationError(
        "kernel image: expected an ELF vmlinux, an x86 bzImage (protocol 2.08 or later), an arm64 "
        f"Image or one of them compressed; found {len(data)} bytes that begin {data[:8].hex(' ')}"
    )


def decompressed(data: bytes) -> bytes:
    """The content of a compressed file (a module's .ko.xz, say); other bytes come back as is.

    Raises ConfigurationError if the compressed data are damaged.
    """
    return data if _decompressor_for(data) is None else _decompress(data, "the compressed file")


def is_arm64_image(data: bytes) -> bool:
    """Whether the bytes begin with the header of a raw arm64 Image."""
    return data[_ARM64_MAGIC : _ARM64_MAGIC + 4] == b"ARM\x64"


def _bzimage_payload(data: bytes) -> bytes:
    (version,) = struct.unpack_from("<H", data, _VERSION)
    if version < _OLDEST_PROTOCOL:
        raise ConfigurationError(
            f"kernel image: boot protocol {version >> 8}.{version & 0xFF:02} does not say where "
            "the payload is; expected 2.08 (Linux 2.6.26) or later: give the ELF vmlinux instead"
        )
    setup_sectors = data[_SETUP_SECTS] or 4  # boot.rst: 0 means 4
    offset, length = struct.unpack_from("<II", data, _PAYLOAD_OFFSET)
    start = (setup_sectors + 1) * _SECTOR + offset
    if length == 0 or start + length > len(data):
        raise ConfigurationError(
            f"kernel image: the header says {length} bytes of payload at {start:#x}, the file has "
            f"{len(data)} bytes: is it cut short?"
        )
    return data[start : start + length]


def _kernel_inside(payload: bytes, what: str) -> bytes:
    if payload.startswith(ELF_MAGIC) or is_arm64_image(payload):
        return payload
    if _decompressor_for(payload) is None:
        raise ConfigurationError(
            f"kernel image: {what} begins {payload[:6].hex(' ')}; expected ELF, gzip, xz, lzma, "
            "bzip2, lz4 (legacy) or zstd (LZO is not read: give the ELF vmlinux instead)"
        )
    kernel = _decompress(payload, what)
    if not (kernel.startswith(ELF_MAGIC) or is_arm64_image(kernel)):
        raise ConfigurationError(
            f"kernel image: {what} unpacks to {len(kernel)} bytes that begin "
            f"{kernel[:8].hex(' ')}; expected an ELF vmlinux or an arm64 Image"
        )
    return kernel


def _decompress(payload: bytes, what: str) -> bytes:
    decompress = _decompressor_for(payload)
    assert decompress is not None  # the caller looked
    try:
        return decompress(payload)
    except (
        zlib.error,
        lzma.LZMAError,
        OSError,
        EOFError,
        ValueError,
        struct.error,
        lz4.block.LZ4BlockError,
        zstandard.ZstdError,
    ) as error:
        raise ConfigurationError(f"kernel image: {what} is damaged: {error}") from error


def _decompressor_for(payload: bytes) -> Callable[[bytes], bytes] | None:
    by_magic: dict[bytes, Callable[[bytes], bytes]] = {
        b"\x1f\x8b": _gzip,
        b"\xfd7zXZ\x00": _xz,
        b"\x5d\x00\x00": _lzma,
        b"BZh": _bzip2,
        _LZ4_LEGACY_MAGIC: _lz4_legacy,
        b"\x28\xb5\x2f\xfd": _zstd,
    }
    return next((f for magic, f in by_magic.items() if payload.startswith(magic)), None)


# All but gzip's payload end in four bytes with the unpacked size (scripts/Makefile.lib,
# size_append), so what follows the compressed stream is passed over.


def _gzip(payload: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    kernel = stream.decompress(payload)
    if not stream.eof:
        raise EOFError("the gzip stream has no end")
    return kernel


def _xz(payload: bytes) -> bytes:
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    kernel = stream.decompress(payload)
    if not stream.eof:
        raise EOFError("the xz stream has no end")
    return kernel


def _lzma(payload: bytes) -> bytes:
    stream = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    kernel = stream.decompress(payload)
    if not stream.eof and not stream.needs_input:
        raise EOFError("the lzma stream has no end")
    return kernel


def _bzip2(payload: bytes) -> bytes:
    stream = bz2.BZ2Decompressor()
    kernel = stream.decompress(payload)
    if not stream.eof:
        raise EOFError("the bzip2 stream has no end")
    return kernel


def _zstd(payload: bytes) -> bytes:
    # The kernel's build uses --ultra -22, whose window is beyond the library's default limit.
    stream = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
    kernel = stream.decompress(payload)
    if not stream.eof:
        raise EOFError("the zstd stream has no end")
    return kernel


def _lz4_legacy(payload: bytes) -> bytes:
    kernel = bytearray()
    at = len(_LZ4_LEGACY_MAGIC)
    while at + 4 < len(payload):  # four bytes left are the appended size
        (size,) = struct.unpack_from("<I", payload, at)
        at += 4
        if payload[at - 4 : at] == _LZ4_LEGACY_MAGIC:
            continue
        if at + size > len(payload):
            raise EOFError(f"an lz4 block of {size} bytes at {at:#x} goes beyond the end")
        kernel += lz4.block.decompress(payload[at : at + size], uncompressed_size=_LZ4_LEGACY_BLOCK)
        at += size
    return bytes(kernel)
