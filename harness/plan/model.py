# SPDX-License-Identifier: BSD-2-Clause
"""What all tables of guest configs and targets are made of."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from harness.errors import ConfigurationError
from harness.failpoints.grammar import parse_setting
from harness.places.syntax import parse_place

Arch = Literal["x86_64", "i386", "arm64", "ppc64le"]
SystemName = Literal["linux", "gnumach", "freebsd"]

_NAME = r"^[a-z0-9][a-z0-9_-]*$"
Name = Annotated[str, Field(pattern=_NAME, max_length=64)]


def _checked_place(text: str) -> str:
    try:
        parse_place(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    return text


def _checked_setting(text: str) -> str:
    try:
        parse_setting(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    return text


def _checked_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return text


PatternText = Annotated[str, AfterValidator(_checked_pattern)]
PlaceText = Annotated[str, AfterValidator(_checked_place)]
SettingText = Annotated[str, AfterValidator(_checked_setting)]


class Model(BaseModel):
    """A table whose keys are all known: a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
