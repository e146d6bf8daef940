# SPDX-License-Identifier: BSD-2-Clause
"""Kernels from git repositories, local and by URL (file://, so without a network)."""

import os
import shutil
import threading
from pathlib import Path

import pytest
from fake_linux import FakeLinux

from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.source.git import Commit, export, local_commit, remote_commit, repository_stem


@pytest.fixture
def history(fake_linux: FakeLinux) -> FakeLinux:
    """The tree with the tags v1 and v2, of which v2 has another mm/memory.c."""
    fake_linux.commit("v1")
    file = fake_linux.tree / "mm/memory.c"
    file.write_text(file.read_text().replace("memory_7;", "seven;"))
    fake_linux.commit("v2")
    return fake_linux


def _url(fake: FakeLinux) -> str:
    return f"file://{fake.tree}"


def _remote(fake: FakeLinux, ref: str) -> str:
    return remote_commit(_url(fake), ref, fake.cache, "here", fake.said.append).id


@pytest.mark.parametrize("by_url", [False, True])
def test_refs_are_builds_that_share_what_they_can(history: FakeLinux, by_url: bool) -> None:
    git = _url(history) if by_url else "../tree"
    first = history.build(git=git, ref="v1")
    assert history.compiled() == ["mm/memory.c", "mm/swap.c"]
    second = history.build(git=git, ref="v2")
    assert history.compiled() == ["mm/memory.c"]
    commit = history.git("rev-parse", "v2")
    assert second.commit == commit
    assert second.label == f"tree v2 {commit[:12]} (race.config)"
    assert second.source == f"commit {commit} (v2) of {git}"
    assert first.identity != second.identity
    assert history.build(git=git, ref="v1") == first


def test_an_export_has_the_modes_that_git_keeps(history: FakeLinux) -> None:
    (history.tree / "scripts/config.awk").chmod(0o755)
    commit = history.commit("v3")
    history.build(git="../tree", ref="v3")
    tree = history.cache / f"sources/git-{commit}"
    modes = {name: (tree / name).stat().st_mode & 0o777 for name in ("Makefile", "mm/swap.c")}
    assert modes == {"Makefile": 0o644, "mm/swap.c": 0o644}
    assert (tree / "scripts/config.awk").stat().st_mode & 0o777 == 0o755


def test_changes_in_the_worktree_are_no_part_of_a_commit(history: FakeLinux) -> None:
    (history.tree / "mm/swap.c").write_text("#error not committed\n")
    kernel = history.build(git="../tree", ref="HEAD")
    assert kernel.commit == history.git("rev-parse", "HEAD")


def test_the_same_commit_is_the_same_kernel_wherever_it_is_from(history: FakeLinux) -> None:
    here = history.build(git="../tree", ref="v1")
    history.said.clear()
    there = history.build(git=_url(history), ref="v1")
    assert there.identity == here.identity
    assert not any(line.startswith("building") for line in history.said)
    assert there.source != here.source


def test_only_the_commit_asked_for_is_fetched(history: FakeLinux) -> None:
    _remote(history, "v2")
    (mirror,) = (history.cache / "git").glob("*.git")
    with pytest.raises(ConfigurationError, match="no commit 'v1'"):
        local_commit(mirror, "v1", "here")
    assert (mirror / "shallow").exists()


def test_what_is_there_is_not_fetched_again(history: FakeLinux) -> None:
    commit = _remote(history, "v1")
    history.tree.rename(history.tree.with_name("gone"))
    for name in ("v1", "refs/tags/v1", commit, commit[:12]):
        assert _remote(history, name) == commit


def test_a_branch_moves_on(history: FakeLinux) -> None:
    before = _remote(history, "main")
    (history.tree / "mm/swap.c").write_text("int other;\n")
    after = history.commit("v3")
    assert _remote(history, "main") == after != before
    history.tree.rename(history.tree.with_name("gone"))
    history.said.clear()
    assert _remote(history, "main") == after
    assert any("taking main as it was last fetched" in line for line in history.said)


@pytest.mark.parametrize("name", ["v2~1", "v2^", "{short}", "{full}"])
def test_names_that_need_history(history: FakeLinux, name: str) -> None:
    first = history.git("rev-parse", "v1")
    history.git("tag", "-d", "v1")
    assert _remote(history, name.format(short=first[:10], full=first)) == first


def test_a_repository_out_of_reach_is_one_message(history: FakeLinux) -> None:
    history.tree.rename(history.tree.with_name("gone"))
    with pytest.raises(InfrastructureError) as caught:
        history.build(git=_url(history), ref="v1")
    message = str(caught.value)
    assert message.startswith(f"the source git = {_url(history)!r}, ref = 'v1': ")
    assert "cannot be reached, and the cache does not have its commit v1" in message
    assert "name a local repository" in message


def test_a_ref_that_does_not_exist(history: FakeLinux) -> None:
    with pytest.raises(ConfigurationError, match=r"no branch, tag or commit 'v22'; similar: v2"):
        history.build(git=_url(history), ref="v22")
    with pytest.raises(ConfigurationError, match=r"has no commit 'v22'; similar: v2"):
        history.build(git="../tree", ref="v22")


def test_a_misspelt_name_does_not_fetch_the_whole_history(history: FakeLinux) -> None:
    history.git("branch", "releng/13.2")
    for ref in ("releng/13.9", "releng/13.9~2"):
        with pytest.raises(ConfigurationError, match=rf"'{ref}'; similar: releng/13\.2"):
            history.build(git=_url(history), ref=ref)
    assert not any("whole history" in line for line in history.said)


def test_a_folder_that_is_no_repository(fake_linux: FakeLinux) -> None:
    with pytest.raises(ConfigurationError, match=r"ref = 'v1'.*is no git repository"):
        fake_linux.build(git="../tree", ref="v1")
    with pytest.raises(ConfigurationError, match=r"there is no folder .*nowhere"):
        fake_linux.build(git="nowhere", ref="v1")


def test_a_commit_that_is_no_kernels(history: FakeLinux) -> None:
    history.git("rm", "-q", "Kconfig")
    history.commit("v3")
    with pytest.raises(ConfigurationError, match=r"of \.\./tree is no Linux tree: .* no Kconfig"):
        history.build(git="../tree", ref="v3")
    assert not [path for path in (history.cache / "sources").iterdir() if path.is_dir()]


def test_a_commit_with_what_a_build_left(history: FakeLinux) -> None:
    (history.tree / ".config").write_text("CONFIG_OLD=y\n")
    history.commit("v3")
    with pytest.raises(
        ConfigurationError, match=r"commit .* a build leaves behind \(\.config\).*mrp"
    ):
        history.build(git="../tree", ref="v3")
    assert not [path for path in (history.cache / "sources").iterdir() if path.is_dir()]


def test_a_fetch_that_was_killed_is_in_nobodys_way(history: FakeLinux) -> None:
    _remote(history, "v1")
    (mirror,) = (history.cache / "git").glob("*.git")
    (mirror / "shallow.lock").touch()
    (mirror / "refs/tags/v2.lock").touch()
    assert _remote(history, "v2") == history.git("rev-parse", "v2")


def test_an_export_that_was_killed_is_made_anew(history: FakeLinux) -> None:
    commit = history.git("rev-parse", "v1")
    half = history.cache / f"sources/.git-{commit}/mm"
    half.mkdir(parents=True)
    (half / "stray.c").write_text("int stray;\n")
    history.build(git="../tree", ref="v1")
    assert not (history.cache / f"sources/git-{commit}/mm/stray.c").exists()
    shutil.rmtree(history.cache / "sources")


def test_an_export_that_cannot_be_unpacked_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\nexec head -c 4000000 /dev/zero\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    failures: list[InfrastructureError] = []

    def give_up() -> None:
        with pytest.raises(InfrastructureError) as error:
            export(Commit(tmp_path, "0" * 40), tmp_path / "nowhere")
        failures.append(error.value)

    exporting = threading.Thread(target=give_up, daemon=True)
    exporting.start()
    exporting.join(10)
    assert "cannot be exported" in str(failures[0])


@pytest.mark.parametrize(
    ("url", "stem"),
    [
        ("https://example.org/pub/linux.git", "linux"),
        ("me@example.org:kernels/mm-stable.git/", "mm-stable"),
        ("/home/me/linux/.git", "linux"),
        ("file:///", "repository"),
        ("..", "repository"),
    ],
)
def test_what_a_repository_is_called(url: str, stem: str) -> None:
    assert repository_stem(url) == stem
    assert "/" not in repository_stem(url)


def test_a_repository_is_only_read(history: FakeLinux) -> None:
    def state() -> list[tuple[Path, int]]:
        files = (path for path in history.tree.rglob("*") if path.is_file())
        return sorted((path, path.stat().st_mtime_ns) for path in files)

    before = state()
    history.build(git="../tree", ref="v1")
    history.build(directory="../tree")
    assert state() == before
