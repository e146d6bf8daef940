# SPDX-License-Identifier: BSD-2-Clause
"""What a binary patch is written as: which function, what must stand there, what comes instead."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import ConfigurationError

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
_Title = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
_FIELD = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Piece(_Model):
    """[[find]]: instructions that must stand in the function, in a row, at exactly one place.

    `code` has one instruction a line, or several texts of which one must match.
    """

    name: _Title
    code: list[str] | str

    @property
    def texts(self) -> list[str]:
        """The alternatives."""
        return [self.code] if isinstance(self.code, str) else self.code


class Edit(_Model):
    """[[edit]]: what comes in the place of the instructions between two labels of the pieces."""

    name: _Title
    start: Identifier
    to: Identifier
    code: str
    about: str = ""


class RegisterUse(_Model):
    """Where a register may still be used behind a label, once the function is patched."""

    register_name: Identifier = Field(alias="register")
    behind: Identifier
    only: list[str]


class Outcome(_Model):
    """[after]: what must hold for all code of the patched function that can be reached."""

    never: list[str] = []
    always: list[str] = []
    uses: list[RegisterUse] = []


class BinaryPatch(_Model):
    """A description of a binary patch, as it stands in its own TOML file."""

    title: str
    arch: Literal["x86_64", "i386"]
    function: str
    label: str
    """What is appended to the kernel's label."""
    fields: dict[Identifier, Annotated[str, Field(pattern=_FIELD)]] = {}
    """Names for fields of the kernel's structures: `next = "vm_map_entry.links.next"`."""
    find: list[Piece] = Field(min_length=1)
    edit: list[Edit] = Field(min_length=1)
    after: Outcome

    @model_validator(mode="after")
    def _names_are_unique(self) -> "BinaryPatch":
        for kind, names in (
            ("find", [piece.name for piece in self.find]),
            ("edit", [edit.name for edit in self.edit]),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"two [[{kind}]] tables are named {name!r}")
        return self


def load_binary_patch(file: Path) -> BinaryPatch:
    """Reads a description. Raises ConfigurationError that names file, key and what is wrong."""
    try:
        return BinaryPatch.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{file}: there is no such file; `binary_patch` names one in the target's folder"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file}: no TOML: {error}") from error
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'the file'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigurationError(f"{file}: {told}") from error
