# SPDX-License-Identifier: BSD-2-Clause
"""TOML files into models, with errors that name file, key, value and what would be right."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError

from harness.errors import ConfigurationError, UsageError
from harness.plan.guest import GuestModel, ImageModel
from harness.plan.target import ForcedOrderCase, TargetModel

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Guest:
    """A guest config with its name."""

    name: str
    file: Path
    model: GuestModel

    @property
    def known_as(self) -> str:
        """What targets call it: its own name, or that of the guest it is like."""
        return self.model.like or self.name


@dataclass(frozen=True)
class Target:
    """A target with its name and folder."""

    name: str
    file: Path
    model: TargetModel
    called: str | None = None
    """What messages call it, where it is no file."""

    @property
    def where(self) -> str:
        """Where it is written, for messages."""
        return self.called or str(self.file)

    @property
    def folder(self) -> Path:
        """Where its patches, config fragments and README are."""
        return self.file.parent


def load_guest(project: Path, name: str) -> Guest:
    """The guest config of that name. Raises UsageError, ConfigurationError."""
    file = project / "guest-configs" / f"{name}.toml"
    _must_exist("guest", name, file, guest_names(project))
    model = _load(file, GuestModel)
    if model.like is not None and model.like not in guest_names(project):
        hint = _hint(model.like, guest_names(project))
        raise ConfigurationError(f"{file}: like: there is no guest {model.like!r}; {hint}")
    return Guest(name, file, model)


def with_image(guest: Guest, image: str, sha256: str | None = None) -> Guest:
    """The guest on another VM image: a path, which may be relative, or a URL.

    Raises UsageError for a guest that takes none, and for a file that is not there.
    """
    if guest.model.image is None:
        raise UsageError(
            f"--image: the guest {guest.name} runs no VM image: its config {guest.file} has no "
            "[image] table"
        )
    if image.lower().startswith(("http://", "https://")):
        keys = {"url": image}
    else:
        path = Path(image).expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"--image: there is no file {path}")
        keys = {"file": str(path)}
    try:
        model = ImageModel.model_validate(keys | ({"sha256": sha256} if sha256 else {}))
    except ValidationError as error:
        raise UsageError(
            f"--image-sha256: expected 64 hexadecimal digits (small letters), found {sha256!r}"
        ) from error
    return replace(guest, model=guest.model.model_copy(update={"image": model}))


def chosen_guest(
    project: Path, name: str, image: str | None = None, sha256: str | None = None
) -> Guest:
    """The guest of that name; with an `image`, the full-image guest that is like it, on that.

    Raises UsageError, ConfigurationError.
    """
    if image is None:
        if sha256 is not None:
            raise UsageError("--image-sha256 says what --image must be: give both")
        return load_guest(project, name)
    return with_image(load_guest(project, full_image_like(project, name)), image, sha256)


def full_image_like(project: Path, name: str) -> str:
    """The guest with a distribution's root that is like this one, or is it. Raises UsageError."""
    full = {}
    load_guest(project, name)
    for other in guest_names(project):
        guest = load_guest(project, other)
        if guest.model.is_full_image:
            full[other] = guest.known_as
    found = [other for other, known_as in full.items() if name in (other, known_as)]
    if not found:
        raise UsageError(
            f"no guest config has a full image for {name}; there are: {', '.join(full) or 'none'}"
        )
    return found[0]


def load_target(project: Path, name: str) -> Target:
    """The target of that name. Raises UsageError, ConfigurationError."""
    file = project / "failpoints" / name / "target.toml"
    _must_exist("target", name, file, target_names(project))
    return Target(name, file, _load(file, TargetModel))


def load_case(file: Path) -> Target:
    """A benchmark's case, written like a target. Raises ConfigurationError."""
    return Target(file.stem, file, _load(file, ForcedOrderCase))


def guest_names(project: Path) -> list[str]:
    """Names of all guest configs."""
    return sorted(path.stem for path in (project / "guest-configs").glob("*.toml"))


def target_names(project: Path) -> list[str]:
    """Names of all targets."""
    return sorted(path.parent.name for path in (project / "failpoints").glob("*/target.toml"))


def _must_exist(kind: str, name: str, file: Path, names: Sequence[str]) -> None:
    if name in names:
        return
    raise UsageError(f"there is no {kind} {name!r} ({file} does not exist); {_hint(name, names)}")


def _load(file: Path, model: type[M]) -> M:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{file} is not valid TOML: {error}") from error
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(_explain(file, model, error)) from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from error


def _explain(file: Path, model: type[BaseModel], error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False):
        if item["type"] == "list_type" and str(item["loc"][-1]).startswith("list["):
            continue  # of "a text or a list of texts" the text's error says more
        # pydantic names a union's branches between the keys: those are not the file's
        key = ".".join(str(part) for part in item["loc"] if "[" not in str(part))
        key = key or "(the whole file)"
        found = item["input"]
        shown = "" if isinstance(found, dict | list) else f", found {found!r}"
        if item["type"] == "extra_forbidden":
            lines.append(f"{file}: {key}: there is no such key; {_keys_near(model, item['loc'])}")
        else:
            lines.append(f"{file}: {key}: {what_is_wrong(item['msg'], shown)}")
    return "\n".join(lines)


def what_is_wrong(message: str, shown: str) -> str:
    """A validator's own words without pydantic's before them; `shown` is the value that it saw.

    A message of several lines shows that itself.
    """
    words = message.removeprefix("Value error, ")
    return words if "\n" in words else words + shown


def _keys_near(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """What a misspelt key may have meant."""
    for part in loc[:-1]:
        if isinstance(part, str) and (field := model.model_fields.get(part)) is not None:
            model = next(_models_in(field.annotation), model)
    keys = list(model.model_fields)
    return _hint(str(loc[-1]), keys)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models in an annotation such as `dict[str, list[X]] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _hint(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(names)}"
