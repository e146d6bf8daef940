# SPDX-License-Identifier: BSD-2-Clause
"""Trees named on the command line."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from fake_linux import FakeLinux

from harness.errors import UsageError
from harness.kernels.acquire import acquire_kernel
from harness.kernels.override import (
    NamedTree,
    SourceOverride,
    kernel_recipes,
    parse_sources,
    pinned,
)
from harness.plan.load import Target
from harness.plan.target import TargetModel

_SOURCE = {
    "package": "linux-source-5.10",
    "suite": "bullseye",
    "version": "5.10.223-1",
    "config": "race.config",
    "patches": ["old-order.patch"],
    "semantic_patches": ["hooks.cocci"],
}
_PACKAGE = {"package": "linux-image-6.1", "suite": "bookworm"}


def _target(**kernels: Mapping[str, object]) -> Target:
    content = {
        "title": "some race",
        "system": "linux",
        "guests": ["linux-x86_64"],
        "kernels": {name: {"linux-x86_64": recipe} for name, recipe in kernels.items()},
        "workload": {"program": "some_race.c"},
        "arm": [
            {"name": "buggy", "kernel": "buggy", "expect": "reproduced"},
            {"name": "fixed", "kernel": "fixed" if "fixed" in kernels else "buggy",
             "expect": "silent"},
        ],
        "symptom": [{"name": "lost", "workload": "(?P<lost>LOST)"}],
    }  # fmt: skip
    return Target("linux-some-race", Path("target.toml"), TargetModel.model_validate(content))


BOTH: dict[str, Mapping[str, object]] = {
    "buggy": {"append": ["old_order=1"], "source": _SOURCE},
    "fixed": _PACKAGE | {"source": _SOURCE},
    "stock": _PACKAGE,
}


def test_one_tree_for_every_kernel_from_source() -> None:
    override = SourceOverride(every=NamedTree("/linux", "v6.1"))
    recipes = kernel_recipes(_target(**BOTH), "linux-x86_64", override)
    for name in ("buggy", "fixed"):
        source = recipes[name].source
        assert source is not None
        assert (source.git, source.ref, source.package, source.suite) == (
            "/linux", "v6.1", None, None,
        )  # fmt: skip
        assert source.patches == ["old-order.patch"]
        assert source.config == ["race.config"]
        assert recipes[name].package is None
    assert recipes["buggy"].append == ["old_order=1"]
    assert recipes["stock"].package == "linux-image-6.1"


def test_two_trees_are_two_builds_without_patches() -> None:
    override = SourceOverride(buggy=NamedTree("/linux", "old"), fixed=NamedTree("/linux", "new"))
    recipes = kernel_recipes(_target(**BOTH), "linux-x86_64", override)
    sources = [recipes[name].source for name in ("buggy", "fixed")]
    assert [source.ref for source in sources if source] == ["old", "new"]
    assert [source.patches for source in sources if source] == [[], []]
    assert [source.semantic_patches for source in sources if source] == [["hooks.cocci"]] * 2


def test_one_arms_tree_wins_over_that_of_all() -> None:
    override = SourceOverride(every=NamedTree("/linux", "v6.1"), buggy=NamedTree("/linux", "old"))
    recipes = kernel_recipes(_target(**BOTH), "linux-x86_64", override)
    assert recipes["buggy"].source is not None
    assert recipes["fixed"].source is not None
    assert (recipes["buggy"].source.ref, recipes["fixed"].source.ref) == ("old", "v6.1")
    assert recipes["fixed"].source.patches == ["old-order.patch"]


def test_without_options_a_target_is_as_it_is() -> None:
    target = _target(**BOTH)
    recipes = kernel_recipes(target, "linux-x86_64", None)
    assert recipes == {name: on["linux-x86_64"] for name, on in target.model.kernels.items()}
    assert parse_sources(None, None, None) is None


def test_a_target_without_a_source_recipe() -> None:
    override = SourceOverride(every=NamedTree("/linux", "v6.1"))
    with pytest.raises(UsageError, match=r"linux-some-race builds no kernel from source on linux-"):
        kernel_recipes(_target(buggy=_PACKAGE, fixed=_PACKAGE), "linux-x86_64", override)


def test_an_arm_without_a_source_recipe() -> None:
    override = SourceOverride(fixed=NamedTree("/linux", "v6.1"))
    target = _target(buggy={"source": _SOURCE}, fixed=_PACKAGE)
    with pytest.raises(UsageError, match=r"--source-fixed: kernels\.fixed\.linux-x86_64"):
        kernel_recipes(target, "linux-x86_64", override)


def test_arms_that_share_a_kernel_cannot_be_two_builds() -> None:
    override = SourceOverride(buggy=NamedTree("/linux", "old"), fixed=NamedTree("/linux", "new"))
    with pytest.raises(UsageError, match="one kernel, buggy"):
        kernel_recipes(_target(buggy={"source": _SOURCE}), "linux-x86_64", override)


def test_paths_and_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "linux@home").mkdir()
    (tmp_path / "linux.tar").touch()
    monkeypatch.chdir(tmp_path)
    here = str(tmp_path / "linux@home")
    for text, tree in {
        "linux@home": NamedTree(here),
        "linux@home@v5.10": NamedTree(here, "v5.10"),
        "linux@home@HEAD@{1}": NamedTree(here, "HEAD@{1}"),
        "./linux@home@topic/swap": NamedTree(here, "topic/swap"),
        "linux.tar": NamedTree(str(tmp_path / "linux.tar")),
        "https://me@example.org/linux.git@v6.1": NamedTree(
            "https://me@example.org/linux.git", "v6.1"
        ),
        "git@example.org:mm/linux.git@a/b": NamedTree("git@example.org:mm/linux.git", "a/b"),
        f"file://{tmp_path}/linux@v1": NamedTree(f"file://{tmp_path}/linux", "v1"),
    }.items():
        assert parse_sources(text, None, None) == SourceOverride(every=tree), text
    assert NamedTree(here).keys()["directory"] == here
    assert NamedTree(str(tmp_path / "linux.tar")).keys()["tarball"] == str(tmp_path / "linux.tar")


def test_a_range_is_both_arms(tmp_path: Path) -> None:
    assert parse_sources(f"{tmp_path}@v5.9..v5.10", None, None) == SourceOverride(
        buggy=NamedTree(str(tmp_path), "v5.9"), fixed=NamedTree(str(tmp_path), "v5.10")
    )
    assert parse_sources(None, f"{tmp_path}@v5.9", str(tmp_path)) == SourceOverride(
        buggy=NamedTree(str(tmp_path), "v5.9"), fixed=NamedTree(str(tmp_path))
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("/nowhere", None, None), r"--source: there is no /nowhere; expected DIR, DIR@REF"),
        ((None, "/nowhere@v1", None), r"--source-buggy: there is no /nowhere"),
        (("https://example.org/linux.git", None, None), r"needs a ref: https://.*@v6\.1"),
        (("{0}@v1...v2", None, None), r"expected REF_BUGGY\.\.REF_FIXED, found 'v1\.\.\.v2'"),
        (("{0}@v1..", None, None), r"expected REF_BUGGY\.\.REF_FIXED"),
        (("{0}@v1..v2", "{0}", None), r"names both arms' trees already"),
        (("{0}@--upload-pack=x", None, None), r"'--upload-pack=x' .* is no ref"),
        (("{0}@", None, None), r"'' in .* is no ref"),
        (("{0}/file@v1", None, None), r"is no repository"),
        (("{0}/bare", None, None), r"is a bare repository: name a ref too"),
    ],
)
def test_what_is_no_tree(
    tmp_path: Path, options: tuple[str | None, str | None, str | None], message: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "bare/objects").mkdir(parents=True)
    (tmp_path / "bare/HEAD").touch()
    with pytest.raises(UsageError, match=message):
        parse_sources(*(text.format(tmp_path) if text else None for text in options))


def test_a_campaign_keeps_the_commits_it_began_with(fake_linux: FakeLinux) -> None:
    first = fake_linux.commit("v1")
    override = parse_sources(f"{fake_linux.tree}@main", None, None)
    assert override is not None
    began = pinned(override, fake_linux.cache, fake_linux.said.append)
    assert began.every == NamedTree(str(fake_linux.tree), "main", first)
    (fake_linux.tree / "mm/swap.c").write_text("int later;\n")
    fake_linux.commit("v2")

    resumed = SourceOverride.from_json(json.loads(json.dumps(began.as_json())))
    assert resumed == began
    source = _SOURCE | {"patches": [], "semantic_patches": []}
    recipes = kernel_recipes(_target(buggy={"source": source}), "linux-x86_64", resumed)
    kernel = acquire_kernel(
        recipes["buggy"], "x86_64", fake_linux.target, fake_linux.cache, fake_linux.said.append
    )
    assert kernel.commit == first
    assert SourceOverride.from_json(None) is None


def test_a_directory_has_nothing_to_pin(fake_linux: FakeLinux) -> None:
    override = SourceOverride(buggy=NamedTree(str(fake_linux.tree)))
    assert pinned(override, fake_linux.cache, fake_linux.said.append) == override
    assert fake_linux.said == []


def test_a_kernel_may_be_missing_on_a_guest_that_has_no_arm_with_it() -> None:
    target = _target(**BOTH)
    target.model.kernels["kasan"] = {"linux-arm64": target.model.kernels["buggy"]["linux-x86_64"]}
    assert set(kernel_recipes(target, "linux-x86_64", None)) == set(BOTH)
