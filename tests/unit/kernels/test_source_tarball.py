# SPDX-License-Identifier: BSD-2-Clause
"""Kernels from tarballs: files, and downloads from servers that stall, truncate and lie."""

import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from fake_linux import FakeLinux
from lying_server import Answer, serving

from harness.errors import ConfigurationError, InfrastructureError
from harness.files import file_hash
from harness.kernels.source import download as download_module
from harness.kernels.source.download import download

CONTENT = bytes(range(256)) * 4000
RIGHT = sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


def _download(url: str, folder: Path, said: list[str] | None = None) -> Path:
    said = [] if said is None else said
    return download(
        url, RIGHT, folder, "the source", said.append, stall_seconds=0.5, pause_seconds=0.01
    )


def _nothing_half(folder: Path) -> bool:
    return not [path for path in folder.iterdir() if path.suffix != ".lock"]


def test_an_honest_server_is_asked_once(tmp_path: Path) -> None:
    with serving(lambda answer, _: answer.rest(CONTENT)) as server:
        file = _download(server.url, tmp_path)
        assert _download(server.url, tmp_path) == file
    assert file.read_bytes() == CONTENT
    assert file.name == f"{RIGHT[:16]}-linux-5.10.tar.xz"
    assert server.offsets == [0]
    # and then without any server
    assert _download(server.url, tmp_path) == file


def test_a_damaged_copy_is_downloaded_anew(tmp_path: Path) -> None:
    with serving(lambda answer, _: answer.rest(CONTENT)) as server:
        _download(server.url, tmp_path).write_bytes(b"damaged")
        assert _download(server.url, tmp_path).read_bytes() == CONTENT


def test_a_truncated_answer_is_resumed(tmp_path: Path) -> None:
    said: list[str] = []
    with serving(
        lambda answer, number: answer.rest(CONTENT, upto=[1000, HALF, None][number])
    ) as server:
        assert _download(server.url, tmp_path, said).read_bytes() == CONTENT
    assert server.offsets == [0, 1000, HALF]
    assert any("cut off at 0.5 MB" in line for line in said)


def test_a_stalled_answer_is_resumed(tmp_path: Path) -> None:
    def behave(answer: Answer, number: int) -> None:
        answer.rest(CONTENT, upto=HALF if number == 0 else None)
        if number == 0:
            answer.stall(1.5)

    with serving(behave) as server:
        assert _download(server.url, tmp_path).read_bytes() == CONTENT
    assert server.offsets == [0, HALF]


def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "_ATTEMPTS", 2)
    with (
        serving(lambda answer, _: answer.stall(1.2)) as server,
        pytest.raises(InfrastructureError, match=r"the source: http.* cannot be downloaded: .*tim"),
    ):
        _download(server.url, tmp_path)


def test_what_an_earlier_run_left_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / f".{RIGHT[:16]}-linux-5.10.tar.xz.part").write_bytes(CONTENT[:HALF])
    with serving(lambda answer, _: answer.rest(CONTENT)) as server:
        assert _download(server.url, tmp_path).read_bytes() == CONTENT
    assert server.offsets == [HALF]


@pytest.mark.parametrize("left", [b"x" * HALF, b"x" * len(CONTENT), b"x" * 2 * len(CONTENT)])
def test_a_wrong_part_is_replaced(tmp_path: Path, left: bytes) -> None:
    (tmp_path / f".{RIGHT[:16]}-linux-5.10.tar.xz.part").write_bytes(left)
    with serving(lambda answer, _: answer.rest(CONTENT)) as server:
        assert _download(server.url, tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges(tmp_path: Path) -> None:
    def behave(answer: Answer, number: int) -> None:
        answer.head(200, Content_Length=len(CONTENT))
        answer.body(CONTENT[: HALF if number == 0 else None])

    with serving(behave) as server:
        assert _download(server.url, tmp_path).read_bytes() == CONTENT
    assert server.offsets == [0, HALF]


def test_a_server_without_ranges_that_always_cuts(tmp_path: Path) -> None:
    def behave(answer: Answer, _: int) -> None:
        answer.head(200, Content_Length=len(CONTENT))
        answer.body(CONTENT[:HALF])

    with serving(behave) as server, pytest.raises(InfrastructureError, match="server closed after"):
        _download(server.url, tmp_path)
    assert len(server.offsets) == 6


def _another_file(answer: Answer, _: int) -> None:
    answer.rest(CONTENT[::-1])


def _a_login_page(answer: Answer, _: int) -> None:
    answer.head(200, Content_Type="text/html")
    answer.body(b"<html>pay first</html>")


def _less_than_it_is(answer: Answer, _: int) -> None:
    answer.head(200, Content_Length=HALF)
    answer.body(CONTENT)


def _more_than_it_is(answer: Answer, _: int) -> None:
    answer.head(200)
    answer.body(CONTENT + b"more")


@pytest.mark.parametrize(
    "behave", [_another_file, _a_login_page, _less_than_it_is, _more_than_it_is]
)
def test_a_lie_is_found_and_not_kept(tmp_path: Path, behave: Callable[[Answer, int], None]) -> None:
    with serving(behave) as server, pytest.raises(InfrastructureError) as caught:
        _download(server.url, tmp_path)
    message = str(caught.value)
    assert f"its SHA-256 should be {RIGHT} and is " in message
    assert "correct `sha256`" in message
    assert _nothing_half(tmp_path)


def test_a_part_of_another_range_is_refused(tmp_path: Path) -> None:
    def behave(answer: Answer, number: int) -> None:
        if number == 0:
            answer.rest(CONTENT, upto=HALF)
        else:
            answer.head(206, Content_Range=f"bytes {HALF + 5}-{len(CONTENT) - 1}/{len(CONTENT)}")
            answer.body(CONTENT[HALF + 5 :])

    with serving(behave) as server, pytest.raises(InfrastructureError, match="the server sends"):
        _download(server.url, tmp_path)


def test_a_part_that_begins_earlier_is_taken(tmp_path: Path) -> None:
    def behave(answer: Answer, number: int) -> None:
        if number == 0:
            answer.rest(CONTENT, upto=HALF)
        else:
            answer.head(206, Content_Range=f"bytes 100-{len(CONTENT) - 1}/{len(CONTENT)}")
            answer.body(CONTENT[100:])

    with serving(behave) as server:
        assert _download(server.url, tmp_path).read_bytes() == CONTENT


def test_a_missing_file_is_not_asked_for_again(tmp_path: Path) -> None:
    with (
        serving(lambda answer, _: answer.head(404, Content_Length=0)) as server,
        pytest.raises(InfrastructureError, match="HTTP 404"),
    ):
        _download(server.url, tmp_path)
    assert server.offsets == [0]


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    def behave(answer: Answer, number: int) -> None:
        answer.head(503, Content_Length=0) if number < 2 else answer.rest(CONTENT)

    with serving(behave) as server:
        assert _download(server.url, tmp_path).read_bytes() == CONTENT
    assert server.offsets == [0, 0, 0]


def test_nobody_there(tmp_path: Path) -> None:
    with serving(lambda *_: None) as server:
        url = server.url
    with pytest.raises(InfrastructureError, match="refused; see to the network"):
        _download(url, tmp_path)


def test_other_protocols_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="only http:// and https://"):
        _download("ftp://example.org/linux.tar", tmp_path)


def _tarball(fake: FakeLinux, *arguments: str, name: str = "linux-5.10.tar.xz") -> Path:
    file = fake.target / name
    subprocess.run(["tar", "-caf", file, "-C", fake.tree.parent, *arguments], check=True)
    return file


@pytest.mark.parametrize(
    "arguments",
    [["tree"], ["-C", "tree", "."], ["--transform", "s,^tree,usr/src,", "tree"]],
    ids=["in a folder", "bare", "in two folders"],
)
def test_a_tarball_beside_the_target(fake_linux: FakeLinux, arguments: list[str]) -> None:
    file = _tarball(fake_linux, *arguments)
    kernel = fake_linux.build(tarball=file.name)
    assert kernel.label == "linux-5.10 (race.config)"
    assert kernel.source == f"tarball linux-5.10.tar.xz, SHA-256 {file_hash(file)}"
    assert fake_linux.compiled() == ["mm/memory.c", "mm/swap.c"]
    assert fake_linux.build(tarball=str(file), sha256=file_hash(file)) != kernel
    assert fake_linux.compiled() == []


def test_a_tarball_by_url(fake_linux: FakeLinux) -> None:
    file = _tarball(fake_linux, "tree")
    content = file.read_bytes()
    with serving(lambda answer, _: answer.rest(content)) as server:
        kernel = fake_linux.build(tarball=server.url, sha256=file_hash(file))
    assert kernel.label == "linux-5.10 (race.config)"
    assert fake_linux.build(tarball=server.url, sha256=file_hash(file)) == kernel


def test_a_tarball_with_another_checksum(fake_linux: FakeLinux) -> None:
    file = _tarball(fake_linux, "tree")
    with pytest.raises(ConfigurationError, match=rf"should be {'0' * 64} \(`sha256`\) and is"):
        fake_linux.build(tarball=file.name, sha256="0" * 64)


def test_a_tarball_that_is_none(fake_linux: FakeLinux) -> None:
    (fake_linux.target / "linux.tar.gz").write_bytes(b"\x1f\x8b no")
    with pytest.raises(ConfigurationError, match=r"tarball = 'linux\.tar\.gz'.*cannot be unpacked"):
        fake_linux.build(tarball="linux.tar.gz")
    _tarball(fake_linux, "tree/mm", name="part.tar")
    with pytest.raises(ConfigurationError, match=r"part\.tar is no Linux tree"):
        fake_linux.build(tarball="part.tar")
    with pytest.raises(ConfigurationError, match=r"there is no file .*nowhere\.tar"):
        fake_linux.build(tarball="nowhere.tar")
    (fake_linux.tree / "vmlinux").touch()
    _tarball(fake_linux, "tree", name="built.tar")
    with pytest.raises(ConfigurationError, match=r"built\.tar holds what a build leaves .*vmlinux"):
        fake_linux.build(tarball="built.tar")
    assert not [path for path in (fake_linux.cache / "sources").iterdir() if path.is_dir()]
