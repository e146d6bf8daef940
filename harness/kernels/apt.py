# SPDX-License-Identifier: BSD-2-Clause
"""Packages of any suite and architecture of the host's own distribution, without root.

apt-get itself downloads and verifies, with a private configuration that names the suite and takes
the mirror from the host's own apt sources (apt.conf(5), sources.list(5)). Nothing of the host's
package database is touched.
"""

import difflib
import fcntl
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import InfrastructureError
from harness.files import file_hash, write_atomically
from harness.progress import Say

_ATTEMPTS = 3
_RETRY_SECONDS = 5.0
_DIGITS = "0123456789."
"""End a name that differs from its like only in a version."""
_SHOWN = 8
_INSTALLED = re.compile(r"^Inst (\S+) \((\S+) ", re.MULTILINE)
"""What `apt-get --simulate install` would install: name and version."""
_ELSEWHERE = "or build the kernel from a tree of your own: docs/kernels.md, --source"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class PackageUnavailableError(InfrastructureError):
    """No configured mirror has the package (any more)."""


@dataclass(frozen=True)
class Package:
    """A downloaded package file; `architecture` is Debian's name, `sha256` hexadecimal."""

    name: str
    version: str
    architecture: str
    suite: str
    file: Path
    sha256: str

    @property
    def identity(self) -> str:
        """Name and version, for people."""
        return f"{self.name} {self.version}"


def fetch_package(
    name: str, suite: str, architecture: str, cache: Path, say: Say, version: str | None = None
) -> Package:
    """The package from the cache, else downloaded from the host's mirror.

    Without `version`, a name once fetched stays at its version until its cache folder is removed.
    Raises PackageUnavailableError where no mirror has it, with the versions that there are;
    InfrastructureError where apt cannot work.
    """
    folder = cache / "packages" / f"{suite}-{architecture}"
    record = folder / f"{name}.json"
    pinned = record if version is None else folder / f"{name}={_in_file_names(version)}.json"

    def kept() -> Package | None:
        for file in dict.fromkeys((pinned, record)):
            package = _read_record(file)
            if package is not None and version in (None, package.version):
                return package
        return None

    if (cached := kept()) is not None:
        return cached
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if (cached := kept()) is not None:
            return cached  # another process fetched it meanwhile
        config = _private_apt(suite, architecture, cache, say)
        return _download(config, name, version, suite, architecture, pinned, say)


def _download(
    config: Path,
    name: str,
    version: str | None,
    suite: str,
    architecture: str,
    record: Path,
    say: Say,
) -> Package:
    folder = record.parent
    version = _candidate(config, name, version, suite)
    say(f"downloading {name} {version} ({suite}, {architecture})")
    _apt(config, "download", f"{name}={version}", folder=folder)
    found = sorted(folder.glob(f"{name}_{_in_file_names(version)}_*.deb"))
    if not found:
        raise InfrastructureError(
            f"apt-get said it downloaded {name}, but {folder} has no such file"
        )
    package = Package(name, version, architecture, suite, found[0], file_hash(found[0]))
    fields = asdict(package) | {"file": found[0].name}
    write_atomically(record, json.dumps(fields, indent=2).encode())
    return package


def download_with_dependencies(
    names: Sequence[str], suite: str, architecture: str, folder: Path, cache: Path, say: Say
) -> list[Package]:
    """Packages and all that they depend on, into an existing folder; nothing is kept elsewhere.

    apt-get itself resolves them for an empty system, without what is only recommended. Raises
    PackageUnavailableError with what apt says of the names, InfrastructureError.
    """
    shared = cache / "packages" / f"{suite}-{architecture}"
    shared.mkdir(parents=True, exist_ok=True)
    with _locked(shared):
        config = _private_apt(suite, architecture, cache, say)
        wanted = ["--no-install-recommends", *names]
        try:
            plan = _apt(config, "--simulate", "install", *wanted)
        except InfrastructureError as error:
            raise PackageUnavailableError(
                f"{' and '.join(names)} of {suite} ({architecture}) cannot be resolved: {error}"
            ) from error
        versions = dict(_INSTALLED.findall(plan))
        what = f"{' and '.join(names)}, {len(versions)} packages"
        say(f"downloading {what} ({suite}, {architecture})")
        exact = [f"{name}={version}" for name, version in versions.items()]
        _apt(config, "download", *exact, folder=folder)
    packages = []
    for name, version in versions.items():
        file = next(iter(folder.glob(f"{name}_{_in_file_names(version)}_*.deb")), None)
        if file is None:
            raise InfrastructureError(f"apt-get said it downloaded {name} {version}, but did not")
        packages.append(Package(name, version, architecture, suite, file, file_hash(file)))
    return packages


def _in_file_names(version: str) -> str:
    """As apt names files: an epoch's colon is escaped."""
    return version.replace(":", "%3a")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time: apt's lists and what it downloads are shared."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def unpack(package: Package, folder: Path) -> None:
    """Unpacks a package's files into a folder. Raises InfrastructureError."""
    _run(["dpkg-deb", "-x", str(package.file), str(folder)])


def dependencies(package: Package) -> list[str]:
    """Names in the package's Depends field, first alternatives only."""
    field = _run(["dpkg-deb", "-f", str(package.file), "Depends"])
    return [part.split("|")[0].split("(")[0].split(":")[0].strip() for part in field.split(",")]


def _read_record(record: Path) -> Package | None:
    try:
        fields = json.loads(record.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    package = Package(**(fields | {"file": record.parent / fields["file"]}))
    if package.file.is_file() and file_hash(package.file) == package.sha256:
        return package
    return None


def _host_mirrors(suite: str) -> list[str]:
    """Archive addresses in the host's apt sources, the likeliest for the suite first."""
    what = ["--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)", "Created-By: Packages"]
    try:
        listing = _run(["apt-get", "indextargets", *what])
        if not listing.strip():  # a host that has never run `apt-get update` knows no origins
            listing = _run(["apt-get", "indextargets", "--no-release-info", *what])
    except InfrastructureError as error:
        raise InfrastructureError(f"this host's apt does not tell its mirror: {error}") from error
    ranks: dict[str, tuple[bool, bool]] = {}
    for line in listing.splitlines():
        address, release, component, origin = line.split("|", 3)
        if component == "main":
            same_kind = release.endswith("-security") == suite.endswith("-security")
            rank = (origin != "Debian", not same_kind)
            ranks[address] = min(ranks.get(address, rank), rank)
    if not ranks:
        raise InfrastructureError(
            "this host's apt sources name no Debian mirror with the component 'main'; "
            "packaged kernels need one (a source recipe or your own kernel does not)"
        )
    return sorted(ranks, key=lambda address: ranks[address])


def _private_apt(suite: str, architecture: str, cache: Path, say: Say) -> Path:
    """A private apt configuration with a fresh index of one suite; its apt.conf."""
    folder = cache / "apt" / f"{suite}-{architecture}"
    config = folder / "apt.conf"
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    config.write_text(
        "\n".join(
            [
                f'Dir::State::Lists "{folder}/lists";',
                f'Dir::State::status "{folder}/status";',
                f'Dir::Cache "{folder}";',
                f'Dir::Etc::sourcelist "{folder}/sources.list";',
                'Dir::Etc::sourceparts "-";',
                f'APT::Architecture "{architecture}";',
                f'APT::Architectures {{ "{architecture}"; }};',
                # an old suite's index is past its date, but signed all the same
                'Acquire::Check-Valid-Until "false";',
                'APT::Sandbox::User "";',
                "",
            ]
        )
    )
    signed = f" signed-by={_KEYRING}" if _KEYRING.exists() else ""
    failures = []
    for address in _host_mirrors(suite):
        source = f"deb [arch={architecture}{signed}] {address} {suite} main\n"
        (folder / "sources.list").write_text(source)
        say(f"reading the package index of {suite} ({architecture})")
        try:
            _update(config)
        except InfrastructureError as error:
            failures.append(str(error))
            continue
        return config
    raise PackageUnavailableError(
        f"no configured mirror serves the suite {suite} for {architecture}: "
        + "; ".join(failures)
        + f"\n  name another suite in the target, add a mirror that has it, {_ELSEWHERE}"
    )


def _update(config: Path) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            _apt(config, "update", "--error-on=any")
        except InfrastructureError:
            if attempt + 1 == _ATTEMPTS:
                raise
            time.sleep(_RETRY_SECONDS)  # mirrors fail for a moment while they synchronise
        else:
            return


def _candidate(config: Path, name: str, version: str | None, suite: str) -> str:
    """The version to download. Raises PackageUnavailableError with those that there are."""
    if version is None:
        shown = _run(["apt-cache", "policy", name], config=config)
        for line in shown.splitlines():
            label, _, value = line.strip().partition(": ")
            if label == "Candidate" and value != "(none)":
                return value
    carried = _versions(name, config).get(suite, [])
    if version is not None and version in carried:
        return version
    others = {other: found for other, found in _versions(name).items() if other != suite}
    if carried:
        wrong = f"the suite {suite} has {name} in version {', '.join(carried)}, not in {version}"
        advice = f"name one of these, {_ELSEWHERE}"
    else:
        similar = _alike(name, config)
        near = f", but {', '.join(similar)}" if similar else ""
        wrong = f"the suite {suite} has no package {name} (any more){near}"
        advice = f"name another package in the target, {_ELSEWHERE}"
    found = "; ".join(f"{other} has {', '.join(known)}" for other, known in others.items())
    elsewhere = f" (of the suites in this host's own apt sources, {found})" if found else ""
    raise PackageUnavailableError(f"{wrong}{elsewhere}: {advice}")


def _alike(name: str, config: Path) -> list[str]:
    """Packages whose names begin as the name does, as far as any goes; the most alike of them."""
    beginning = name.rstrip(_DIGITS)
    while beginning:
        if found := _run(["apt-cache", "pkgnames", beginning], config=config).split():
            return sorted(difflib.get_close_matches(name, found, n=_SHOWN, cutoff=0.0))
        beginning = beginning.rpartition("-")[0]
    return []


def _versions(name: str, config: Path | None = None) -> dict[str, list[str]]:
    """Versions of a package by suite: of a private configuration, else of the host's own."""
    versions: dict[str, list[str]] = {}
    for line in _run(["apt-cache", "madison", name], config=config).splitlines():
        _, version, where = (part.strip() for part in line.split("|", 2))
        if where.endswith(" Packages"):
            known = versions.setdefault(where.split()[1].partition("/")[0], [])
            known.extend([] if version in known else [version])
    return versions


def _apt(config: Path, *arguments: str, folder: Path | None = None) -> str:
    return _run(["apt-get", "-q", *arguments], config=config, folder=folder)


def _run(argv: list[str], config: Path | None = None, folder: Path | None = None) -> str:
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    if config is not None:
        environment["APT_CONFIG"] = str(config)
    try:
        done = subprocess.run(
            argv, env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise InfrastructureError(
            f"{argv[0]} is not installed: packaged kernels need a Debian host"
        ) from error
    if done.returncode == -signal.SIGINT:
        raise KeyboardInterrupt
    if done.returncode != 0:
        said = "; ".join(
            line for line in done.stderr.splitlines() if line.startswith(("E:", "W:", "dpkg"))
        )
        raise InfrastructureError(f"`{' '.join(argv[:3])}` failed: {said or done.stderr.strip()}")
    return done.stdout
