# SPDX-License-Identifier: BSD-2-Clause
"""VM images: files and downloads, compressed or not, and those that are not what is needed."""

import lzma
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from fake_disk import BOOT, Part, disk, ufs
from lying_server import Answer, serving

from harness.disk_tools import missing_disk_tools
from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.source import download as download_module
from harness.plan.guest import ImageModel
from harness.systems.freebsd.gpt import EFI_SYSTEM, FREEBSD_UFS, FREEBSD_ZFS, TABLE_BYTES
from harness.systems.freebsd.vm_image import VmImage, read_disk, vm_image

CONTENT = disk(BOOT, ufs())
PACKED = lzma.compress(CONTENT)
NAME = "FreeBSD-13.2-RELEASE-amd64.raw.xz"

pytestmark = pytest.mark.skipif(missing_disk_tools() is not None, reason="no qemu-img here")


def _image(cache: Path, arch: str = "x86_64", **keys: str) -> VmImage:
    return vm_image(ImageModel(**keys), arch, cache, lambda _: None)


def _file(folder: Path, content: bytes, name: str = "disk.raw") -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def _right(content: bytes) -> str:
    return sha256(content).hexdigest()


def test_a_file_is_used_where_it_is(tmp_path: Path) -> None:
    file = _file(tmp_path, CONTENT)
    image = _image(tmp_path / "cache", file=file, sha256=_right(CONTENT))
    assert (image.disk.file, image.disk.format) == (Path(file), "raw")
    assert image.root == "ufs:/dev/gpt/rootfs"
    assert _image(tmp_path / "cache", file=file).identity == image.identity


def test_another_content_is_another_image(tmp_path: Path) -> None:
    file = _file(tmp_path, CONTENT)
    before = _image(tmp_path, file=file)
    _file(tmp_path, CONTENT + bytes(512))
    assert _image(tmp_path, file=file).identity != before.identity


def test_a_compressed_file_is_unpacked_once(tmp_path: Path) -> None:
    file = _file(tmp_path, PACKED, NAME)
    image = _image(tmp_path / "cache", file=file)
    assert image.disk.file.read_bytes() == CONTENT
    assert image.disk.file.is_relative_to(tmp_path / "cache")
    written = image.disk.file.stat().st_mtime_ns
    assert _image(tmp_path / "cache", file=file).disk.file.stat().st_mtime_ns == written


@pytest.mark.parametrize("content", [PACKED[:-20], PACKED[:100] + b"x" * 20 + PACKED[120:]])
def test_a_damaged_compressed_file_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    file = _file(tmp_path, content, NAME)
    with pytest.raises(ConfigurationError, match=f"{NAME} is damaged"):
        _image(tmp_path / "cache", file=file)
    left = [p for p in (tmp_path / "cache/images/freebsd").iterdir() if p.suffix != ".lock"]
    assert left == []


def test_a_qcow2_file_is_looked_into(tmp_path: Path) -> None:
    file, packed = Path(_file(tmp_path, CONTENT)), tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(file), str(packed)], check=True)
    image = _image(tmp_path, file=str(packed))
    assert image.disk.format == "qcow2"
    assert image.root == "ufs:/dev/gpt/rootfs"
    assert read_disk(image.disk, 512, TABLE_BYTES) == CONTENT[512 : 512 + TABLE_BYTES]


def test_an_overlay_is_refused(tmp_path: Path) -> None:
    file, overlay = _file(tmp_path, CONTENT), tmp_path / "overlay.qcow2"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", file, str(overlay)]
    subprocess.run(argv, check=True)
    with pytest.raises(ConfigurationError, match=r"overlay\.qcow2 is an overlay over .*disk\.raw"):
        _image(tmp_path, file=str(overlay))


def test_another_checksum(tmp_path: Path) -> None:
    file = _file(tmp_path, CONTENT)
    with pytest.raises(InfrastructureError, match=f"should be {'0' * 64} and is {_right(CONTENT)}"):
        _image(tmp_path, file=file, sha256="0" * 64)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no file"):
        _image(tmp_path, file=str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "expected a disk with a GUID partition table"),
        (b"KDMV" + bytes(512), r"disk\.raw is a VMDK disk: expected a disk, raw or qcow2"),
        (b"\x1f\x8b\x08" + bytes(512), "is compressed by gzip: expected"),
        (lzma.compress(b"BZh9" + bytes(512)), "is compressed by bzip2: expected"),
        (bytes(32769) + b"CD001", "is an ISO 9660 image: expected"),
        (b"no disk", "expected a disk with a GUID partition table"),
        (disk(BOOT), "expected a partition of type freebsd-ufs with a UFS in it; it has 83bd6b9d"),
        (disk(BOOT, Part(FREEBSD_ZFS, "zfs")), "that is ZFS: take the release's image with UFS"),
        (disk(BOOT, Part(FREEBSD_UFS, "rootfs")), "with a UFS in it; it has 83bd6b9d"),
    ],
)
def test_what_is_no_image(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        _image(tmp_path, file=_file(tmp_path, content))


def _efi(loader: bytes) -> Part:
    return Part(EFI_SYSTEM, "efiesp", 512, ((0x9000, loader),))


@pytest.mark.parametrize(
    ("content", "arch", "of"),
    [
        (CONTENT, "arm64", "x86_64"),
        (disk(_efi(b"BOOTX64 EFI"), ufs()), "arm64", "x86_64"),
        (disk(_efi(b"BOOTAA64EFI"), ufs()), "x86_64", "arm64"),
    ],
)
def test_the_wrong_architecture(tmp_path: Path, content: bytes, arch: str, of: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"is for {of} by its boot loader.*guest is {arch}"
    ):
        _image(tmp_path, arch, file=_file(tmp_path, content))
    assert _image(tmp_path, of, file=_file(tmp_path, content)).root == "ufs:/dev/gpt/rootfs"


@pytest.mark.parametrize(
    ("parts", "root"),
    [
        ((BOOT, ufs("rootfs")), "ufs:/dev/gpt/rootfs"),
        ((ufs("data"), ufs("rootfs")), "ufs:/dev/gpt/rootfs"),
        ((BOOT, ufs("")), "ufs:/dev/vtbd0p2"),
        ((ufs("a b"),), "ufs:/dev/vtbd0p1"),
        ((ufs("same"), ufs("same")), "ufs:/dev/vtbd0p1"),
        ((Part(FREEBSD_UFS, "empty"), ufs("other")), "ufs:/dev/gpt/other"),
    ],
)
def test_the_root(tmp_path: Path, parts: tuple[Part, ...], root: str) -> None:
    assert _image(tmp_path, file=_file(tmp_path, disk(*parts))).root == root


def _answers(answer: Answer, checksums: bytes | None, image: bytes = PACKED) -> None:
    if "/CHECKSUM.SHA256" in answer.path:
        if checksums is None:
            answer.head(404, Content_Length=0)
        else:
            answer.rest(checksums)
    else:
        answer.rest(image)


def _published(sha: str) -> bytes:
    return f"SHA256 (other.xz) = {'1' * 64}\nSHA256 ({NAME}) = {sha}\n".encode()


def test_a_download_with_the_published_checksum(tmp_path: Path) -> None:
    with serving(lambda answer, _: _answers(answer, _published(_right(PACKED)))) as server:
        url = f"{server.url.rpartition('/')[0]}/{NAME}"
        image = _image(tmp_path, url=url)
    assert image.disk.file.read_bytes() == CONTENT
    # and then without any server
    assert _image(tmp_path, url=url) == image


def test_a_download_with_a_checksum_of_the_users(tmp_path: Path) -> None:
    with serving(lambda answer, _: _answers(answer, None)) as server:
        url = f"{server.url.rpartition('/')[0]}/{NAME}"
        assert _image(tmp_path, url=url, sha256=_right(PACKED)).disk.file.read_bytes() == CONTENT


def test_a_download_that_is_cut_off_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "_PAUSE_SECONDS", 0.01)
    with serving(
        lambda answer, number: answer.rest(PACKED, upto=100 if number == 0 else None)
    ) as server:
        url = f"{server.url.rpartition('/')[0]}/{NAME}"
        assert _image(tmp_path, url=url, sha256=_right(PACKED)).disk.file.read_bytes() == CONTENT
    assert server.offsets == [0, 100]


@pytest.mark.parametrize(
    ("checksums", "says"),
    [
        (
            None,
            r"none is published beside it \(CHECKSUM\.SHA256 cannot be read: .*; "
            r"CHECKSUM\.SHA256-FreeBSD-13\.2-RELEASE-amd64 cannot be read: .*--image-sha256",
        ),
        (b"SHA256 (other.xz) = " + b"1" * 64, f"CHECKSUM.SHA256 does not name {NAME}"),
        (b"SHA256 (" + NAME.encode() + b") = 12", f"CHECKSUM.SHA256 does not name {NAME}"),
        (b"MD5 (" + NAME.encode() + b") = " + b"1" * 64, f"does not name {NAME}"),
        (b"\xff\xfe<html>", f"CHECKSUM.SHA256 does not name {NAME}"),
        (
            _published("2" * 64),
            f"checksum published beside it .* should be {'2' * 64} and is {_right(PACKED)}",
        ),
    ],
)
def test_checksums_that_do_not_help(tmp_path: Path, checksums: bytes | None, says: str) -> None:
    with serving(lambda answer, _: _answers(answer, checksums)) as server:
        url = f"{server.url.rpartition('/')[0]}/{NAME}"
        with pytest.raises(InfrastructureError, match=says):
            _image(tmp_path, url=url)
    assert not list(tmp_path.rglob("*.raw"))


def test_a_checksum_that_was_wrong_is_asked_for_again(tmp_path: Path) -> None:
    published = [_published("2" * 64), _published(_right(PACKED))]
    with serving(lambda answer, _: _answers(answer, published[0])) as server:
        url = f"{server.url.rpartition('/')[0]}/{NAME}"
        with pytest.raises(InfrastructureError, match="and is"):
            _image(tmp_path, url=url)
        del published[0]
        assert _image(tmp_path, url=url).disk.file.read_bytes() == CONTENT


@pytest.mark.parametrize("at_first", [404, 200])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_release_s_own_file_of_checksums(tmp_path: Path, at_first: int, end: str) -> None:
    line = f"SHA256 ({NAME}) = {_right(PACKED).upper()}{end}".encode()

    def answers(answer: Answer, _: int) -> None:
        if answer.path.endswith("/CHECKSUM.SHA256-FreeBSD-13.2-RELEASE-amd64"):
            answer.rest(line)
        elif answer.path.endswith("/CHECKSUM.SHA256"):
            if at_first == 404:
                answer.head(404, Content_Length=0)
            else:
                answer.rest(b"SHA256 (other) = " + b"1" * 64)
        else:
            answer.rest(PACKED)

    with serving(answers) as server:
        url = f"{server.url.rpartition('/')[0]}/{NAME}"
        assert _image(tmp_path, url=url).disk.file.read_bytes() == CONTENT


def test_no_server_is_asked_once(tmp_path: Path) -> None:
    with serving(lambda answer, _: answer.rest(PACKED)) as server:
        url = f"{server.url.rpartition('/')[0]}/{NAME}"
    asked: list[str] = []
    with pytest.raises(InfrastructureError, match=r"CHECKSUM\.SHA256 cannot be read: .*refused"):
        vm_image(ImageModel(url=url), "x86_64", tmp_path, asked.append)
    assert len(asked) == 1
