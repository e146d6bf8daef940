# SPDX-License-Identifier: BSD-2-Clause
"""The source table of a kernel: exactly one source, with what belongs to it."""

import pytest
from pydantic import ValidationError

from harness.plan.kernel import SourceRecipe, is_url

DIGEST = "0" * 64


@pytest.mark.parametrize(
    ("keys", "origin"),
    [
        ({"package": "linux-source-6.1", "suite": "bookworm"}, "linux-source-6.1"),
        ({"package": "linux-source-6.1", "suite": "bookworm", "version": "1:6.1.176-1~x+b1"},
         "linux-source-6.1"),
        ({"directory": "/home/me/linux"}, "/home/me/linux"),
        ({"git": "https://example.org/linux.git", "ref": "v6.1"},
         "https://example.org/linux.git@v6.1"),
        ({"git": "../linux", "ref": "mm/fixes~3^2"}, "../linux@mm/fixes~3^2"),
        ({"tarball": "linux.tar.xz"}, "linux.tar.xz"),
        ({"tarball": "https://example.org/linux.tar.xz", "sha256": DIGEST},
         "https://example.org/linux.tar.xz"),
    ],
)  # fmt: skip
def test_each_kind_of_source(keys: dict[str, str], origin: str) -> None:
    assert SourceRecipe.model_validate(keys | {"config": "race.config"}).origin == origin


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "must be one of .* found none of them"),
        ({"directory": "a", "git": "b", "ref": "c"}, "found directory and git"),
        ({"package": "linux-source-6.1"}, "`package` needs `suite` beside it"),
        ({"package": "l", "suite": "sid", "version": "v6.1"}, "should match pattern"),
        ({"package": "l", "suite": "sid", "version": "6.1 "}, "should match pattern"),
        ({"git": "../linux", "ref": "v6.1", "version": "6.1"}, "`version` goes with `package`"),
        ({"git": "../linux"}, "`git` needs `ref` beside it"),
        ({"directory": "a", "ref": "v6.1"}, "`ref` goes with `git`, and the source is a `dir"),
        ({"directory": "a", "suite": "sid"}, "`suite` goes with `package`"),
        ({"git": "../linux", "ref": "v1", "sha256": DIGEST}, "`sha256` goes with `tarball`"),
        ({"tarball": "https://example.org/l.tar"}, "`tarball` needs `sha256` beside it"),
        ({"tarball": "l.tar", "sha256": "abc"}, "should match pattern"),
        ({"git": "../linux", "ref": "--output=x"}, "must be a tag, a branch or a commit id"),
        ({"git": "../linux", "ref": "HEAD:mm"}, "must be a tag, a branch or a commit id"),
        ({"git": "--upload-pack=x", "ref": "v1"}, "`git` must be a URL or a folder"),
        ({"directory": ""}, "at least 1 character"),
    ],
)
def test_what_is_no_source(keys: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SourceRecipe.model_validate(keys | {"config": "race.config"})


def test_one_fragment_or_several_or_none() -> None:
    tree = {"directory": "/linux"}
    assert SourceRecipe.model_validate(tree | {"config": "a.config"}).config == ["a.config"]
    both = ["a.config", "b.config"]
    assert SourceRecipe.model_validate(tree | {"config": both}).config == both
    assert SourceRecipe.model_validate(tree | {"config": []}).config == []  # the base as it is
    with pytest.raises(ValidationError, match="config"):
        SourceRecipe.model_validate(tree)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.org/linux.git", True),
        ("git@example.org:linux.git", True),
        ("FILE:///linux", True),
        ("../linux", False),
        ("/home/me/a:b/linux", False),
        ("./a:b", False),
    ],
)
def test_urls_and_paths(text: str, url: bool) -> None:
    assert is_url(text) == url
