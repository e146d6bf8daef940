# SPDX-License-Identifier: BSD-2-Clause
"""Commits of git repositories: found by name, fetched no more than once, exported as trees.

A local repository is read where it is. What a URL names is kept in a bare mirror in the cache:
first the one commit (`git fetch --depth=1`), all of the repository's history only where the name
cannot be resolved without it (an abbreviated id, `v5.10~3`, a server that gives out no commit by
its id). Commands and names: git-fetch(1), git-ls-remote(1), gitrevisions(7).
"""

import re
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.source.command import CommandError, run, run_with_progress
from harness.kernels.source.lock import locked
from harness.progress import Say

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,64}")
_SHOWN = 5
_QUIET = {
    "GIT_TERMINAL_PROMPT": "0",  # a password is asked of nobody
    "GIT_OPTIONAL_LOCKS": "0",  # a user's repository is only read
}
# one that sends next to nothing for a minute is given up (git-config(1), http.lowSpeedLimit)
_PATIENCE = ["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60"]


@dataclass(frozen=True)
class Commit:
    """A commit that is on this machine: in `repository` (a git folder), by its full id."""

    repository: Path
    id: str


def local_commit(repository: Path, ref: str, where: str) -> Commit:
    """A ref of a repository on this machine. Raises ConfigurationError that begins with `where`."""
    if not repository.is_dir():
        raise ConfigurationError(f"{where}: there is no folder {repository}")
    try:
        _git(repository, "rev-parse", "--git-dir")
    except CommandError as error:
        raise ConfigurationError(
            f"{where}: {repository} is no git repository ({error.said})"
        ) from error
    if (found := _resolve(repository, ref)) is None:
        near = ", ".join(_alike(_short_names(repository), ref))
        raise ConfigurationError(
            f"{where}: the repository {repository} has no commit {ref!r}"
            + (f"; similar: {near}" if near else "; `git fetch` it there first")
        )
    return Commit(repository, found)


def remote_commit(url: str, ref: str, cache: Path, where: str, say: Say) -> Commit:
    """A ref of the repository at a URL, from the mirror in the cache, else fetched into it.

    A commit id or tag that the mirror has is not asked for again; a branch is, and where the
    repository cannot be reached then the branch as it was last fetched is taken, which is said.
    Raises ConfigurationError where the repository has no such ref, InfrastructureError where it
    cannot be reached; both begin with `where`.
    """
    mirror = cache / "git" / f"{repository_stem(url)}-{sha256(url.encode()).hexdigest()[:16]}.git"
    with locked(mirror.with_name(f"{mirror.name}.lock"), url, say):
        if not (mirror / "HEAD").is_file():
            run(["git", "init", "--quiet", "--bare", str(mirror)], extra=_QUIET)
        for stale in mirror.rglob("*.lock"):
            # of a git that was killed: nobody else fetches while our own lock is held
            stale.unlink(missing_ok=True)
        found = _kept(mirror, ref) or _fetched(mirror, url, ref, where, say)
    return Commit(mirror, found)


def export(commit: Commit, into: Path) -> None:
    """Writes the commit's files (git-archive(1)) into a folder. Raises InfrastructureError."""
    # without it, files are writable to a group (git-config(1), tar.umask)
    git = ["git", "-c", "tar.umask=0022", "-C", str(commit.repository)]
    argv = [*git, "archive", "--format=tar", commit.id]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as archive:
        unpacking = subprocess.run(
            ["tar", "-xf", "-", "--no-same-owner", "-C", str(into)],
            stdin=archive.stdout,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if archive.stdout is not None:
            archive.stdout.close()  # else git waits for ever for a tar that has given up
        said = archive.stderr.read().decode(errors="replace") if archive.stderr else ""
    if archive.returncode != 0 or unpacking.returncode != 0:
        raise InfrastructureError(
            f"the commit {commit.id} of {commit.repository} cannot be exported: "
            + "; ".join((unpacking.stderr + said).strip().splitlines()[:3])
        )


def repository_stem(url: str) -> str:
    """What people call a repository: the last part of its URL or path, fit for a file's name."""
    last = re.split(r"[/:]", url.rstrip("/").removesuffix("/.git"))[-1].removesuffix(".git")
    return re.sub(r"[^A-Za-z0-9._-]", "-", last).strip(".-") or "repository"


def _git(repository: Path, *arguments: str) -> str:
    return run(["git", "-C", str(repository), *arguments], extra=_QUIET).decode(errors="replace")


def _resolve(repository: Path, ref: str) -> str | None:
    """The commit's id, if the repository has that commit with its files."""
    try:
        found = _git(repository, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()
        _git(repository, "cat-file", "-e", f"{found}^{{tree}}")
    except CommandError:
        return None
    return found


def _short_names(repository: Path) -> list[str]:
    return _git(repository, "for-each-ref", "--format=%(refname:short)").split()


def _alike(names: Iterable[str], ref: str) -> list[str]:
    wanted = ref.lower()
    names = sorted(name for name in names if not name.endswith("^{}"))
    parts = [name for name in names if wanted in name.lower() or name.lower() in wanted]
    return parts[-_SHOWN:] or get_close_matches(ref, names, n=_SHOWN)


def _kept(mirror: Path, ref: str) -> str | None:
    """The commit of a ref that means the same for ever, if the mirror has it."""
    ref = ref.removeprefix("refs/tags/")
    base = re.split(r"[~^]", ref)[0]
    if _ABBREVIATED.fullmatch(base):
        return _resolve(mirror, ref)
    if _resolve(mirror, f"refs/tags/{base}") is not None:
        return _resolve(mirror, f"refs/tags/{ref}")
    return None


def _fetched(mirror: Path, url: str, ref: str, where: str, say: Say) -> str:
    try:
        names = _names_there(url)
        if name := _full_name(names, ref):
            say(f"fetching {ref} of {url}")
            _fetch(mirror, url, say, "--depth=1", f"+{name}:{name}")
            return _resolved(mirror, name)
        if _COMMIT.fullmatch(ref):
            say(f"fetching {ref} of {url}")
            # many servers give out only what a branch or tag points at
            with suppress(CommandError):
                _fetch(mirror, url, say, "--depth=1", f"+{ref}:refs/harness/{ref}")
                return _resolved(mirror, ref)
        if not _may_be_in_history(names, ref):
            raise _no_such(url, ref, [re.sub("^refs/[a-z]*/", "", name) for name in names], where)
        say(f"fetching the whole history of {url}, because {ref} is no branch or tag of it")
        whole = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        shallow = ["--unshallow"] if (mirror / "shallow").is_file() else []
        _fetch(mirror, url, say, *shallow, *whole)
    except CommandError as error:
        if (before := _resolve(mirror, f"refs/heads/{ref}")) is not None:
            say(f"{url} cannot be reached ({error.said}): taking {ref} as it was last fetched")
            return before
        raise InfrastructureError(
            f"{where}: {url} cannot be reached, and the cache does not have its commit {ref}: "
            f"{error.said}\n  see to the network, or name a local repository that has the commit"
        ) from error
    if (found := _resolve(mirror, ref)) is None:
        raise _no_such(url, ref, _short_names(mirror), where)
    return found


def _no_such(url: str, ref: str, names: Iterable[str], where: str) -> ConfigurationError:
    near = ", ".join(_alike(names, ref))
    return ConfigurationError(
        f"{where}: the repository {url} has no branch, tag or commit {ref!r}"
        + (f"; similar: {near}" if near else "")
    )


def _resolved(mirror: Path, name: str) -> str:
    found = _resolve(mirror, name)
    if found is None:
        raise CommandError(said := f"{name} was fetched, but is no commit", said)
    return found


def _names_there(url: str) -> frozenset[str]:
    """The full names of the repository's branches and tags, and HEAD."""
    listing = run(["git", *_PATIENCE, "ls-remote", "--", url], extra=_QUIET).decode()
    return frozenset(line.split("\t")[1] for line in listing.splitlines() if "\t" in line)


def _full_name(names: frozenset[str], ref: str) -> str | None:
    """Of a tag or branch."""
    for name in (ref, f"refs/tags/{ref}", f"refs/heads/{ref}"):
        if name.startswith("refs/") and name in names:
            return name
    return None


def _may_be_in_history(names: frozenset[str], ref: str) -> bool:
    """Whether the whole history may have what no name there is for (gitrevisions(7))."""
    base = re.split(r"[~^]", ref)[0]
    return (
        base == "HEAD"
        or _full_name(names, base) is not None
        or re.fullmatch(r"(?:.*-g)?[0-9a-f]{4,64}", base) is not None
    )


def _fetch(mirror: Path, url: str, say: Say, *what: str) -> None:
    # no garbage collection that goes on in the background
    fetch = ["fetch", "--progress", "--no-tags", "--no-auto-gc", "--no-write-fetch-head"]
    run_with_progress(
        ["git", "-C", str(mirror), *_PATIENCE, *fetch, *_ordered(url, what)],
        extra=_QUIET,
        say=say,
        what=f"fetching {repository_stem(url)}",
    )


def _ordered(url: str, what: tuple[str, ...]) -> list[str]:
    options = [word for word in what if word.startswith("--")]
    return [*options, "--", url, *(word for word in what if not word.startswith("--"))]
