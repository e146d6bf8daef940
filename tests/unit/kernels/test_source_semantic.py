# SPDX-License-Identifier: BSD-2-Clause
"""Semantic patches, with the real spatch where it is installed."""

import json
import shutil

import pytest
from fake_linux import FakeLinux

from harness.errors import ConfigurationError, InfrastructureError
from harness.kernels.source.semantic import read_semantic_patch

needs_spatch = pytest.mark.skipif(
    shutil.which("spatch") is None, reason="coccinelle is not installed"
)
_FAULT_C = """\
int look_up(int entry);

int swap_in(int entry)
{
\tint page;

\tpage = look_up(entry);
\tif (!page)
\t\treturn 0;
\treturn page;
}
"""
_RULE = """\
@@
expression page, entry;
@@
  page = look_up(entry);
+ place_looked_up();
"""
_CALL = "\tpage = look_up(entry);\n\tplace_looked_up();\n"


@pytest.fixture
def faulty(fake_linux: FakeLinux) -> FakeLinux:
    """The tree with a function that a hook can go into, in mm/fault.c and mm/ksm.c."""
    (fake_linux.tree / "mm/fault.c").write_text(_FAULT_C)
    (fake_linux.tree / "mm/fault.h").write_text("int other;\n")
    fake_linux.commit("v1")
    return fake_linux


def _hook(fake: FakeLinux, header: str = "// files: mm/fault.c\n", rule: str = _RULE) -> str:
    (fake.target / "hook.cocci").write_text(f"// why\n{header}{rule}")
    return "hook.cocci"


def _build(fake: FakeLinux, *patches: str) -> str:
    """Builds, and gives mm/fault.c as it was built."""
    fake.build(*patches, directory="../tree")
    return (fake.build_folder / "source/mm/fault.c").read_text()


@needs_spatch
def test_a_hook_goes_in_and_out(faulty: FakeLinux) -> None:
    assert _CALL in _build(faulty, _hook(faulty))
    assert (faulty.tree / "mm/fault.c").read_text() == _FAULT_C
    assert faulty.compiled() == ["mm/fault.c", "mm/memory.c", "mm/swap.c"]
    assert _build(faulty) == _FAULT_C
    assert faulty.compiled() == ["mm/fault.c"]


@needs_spatch
def test_it_holds_for_another_version_too(faulty: FakeLinux) -> None:
    hook = _hook(faulty)
    _build(faulty, hook)
    later = _FAULT_C.replace("int entry)\n{", "int entry)\n{\n\tint more = 1;\n")
    (faulty.tree / "mm/fault.c").write_text(later.replace("if (!page)", "if (more && !page)"))
    assert _CALL in _build(faulty, hook)


@needs_spatch
def test_it_sees_what_a_patch_made(faulty: FakeLinux) -> None:
    patch = faulty.patch(
        "later.patch", "mm/fault.c", lambda text: text.replace("return page;", "return page + 1;")
    )
    built = _build(faulty, patch, _hook(faulty))
    assert _CALL in built
    assert "return page + 1;" in built


@needs_spatch
def test_its_content_is_part_of_the_kernels_key(faulty: FakeLinux) -> None:
    hook = _hook(faulty)
    _build(faulty, hook)
    assert "place_elsewhere" in _build(
        faulty, _hook(faulty, rule=_RULE.replace("place_looked_up", "place_elsewhere"))
    )
    assert len(faulty.cached_kernels()) == 2


@needs_spatch
def test_a_result_is_computed_once(faulty: FakeLinux) -> None:
    hook = _hook(faulty)
    first = _build(faulty, hook)
    shutil.rmtree(faulty.cache / "kernels")
    faulty.said.clear()
    assert _build(faulty, hook) == first
    assert not any(line.startswith("applying") for line in faulty.said)


@needs_spatch
def test_one_that_changes_nothing_is_an_error(faulty: FakeLinux) -> None:
    hook = _hook(faulty, rule=_RULE.replace("look_up(entry)", "look_down(entry)"))
    with pytest.raises(ConfigurationError, match=r"hook\.cocci: changes nothing in mm/fault\.c"):
        _build(faulty, hook)
    assert faulty.cached_kernels() == []


@needs_spatch
def test_every_needed_file_must_change(faulty: FakeLinux) -> None:
    with pytest.raises(ConfigurationError, match=r"changes nothing in mm/swap\.c"):
        _build(faulty, _hook(faulty, "// files: mm/fault.c mm/swap.c\n"))
    with pytest.raises(ConfigurationError, match=r"is for mm/gone\.c, which this kernel does not"):
        _build(faulty, _hook(faulty, "// files: mm/fault.c mm/gone.c\n"))


@needs_spatch
def test_optional_files_may_be_missing_or_stay(faulty: FakeLinux) -> None:
    header = "// files: mm/fault.c\n// optional files: mm/swap.c mm/gone.c\n"
    assert _CALL in _build(faulty, _hook(faulty, header))


@needs_spatch
def test_one_of_the_optional_files_must_change(faulty: FakeLinux) -> None:
    with pytest.raises(ConfigurationError, match=r"changes nothing: .*\(mm/swap\.c, mm/gone\.c\)"):
        _build(faulty, _hook(faulty, "// optional files: mm/swap.c mm/gone.c\n"))


@needs_spatch
def test_a_mistake_in_it_is_shown(faulty: FakeLinux) -> None:
    with pytest.raises(ConfigurationError, match=r"hook\.cocci: spatch cannot apply it") as caught:
        _build(faulty, _hook(faulty, rule=_RULE.replace("@@\n  page", "@\n  page")))
    assert "line 5" in str(caught.value)
    assert list((faulty.cache / "semantic").iterdir()) == []


@needs_spatch
def test_an_error_in_what_it_wrote_is_the_targets(faulty: FakeLinux) -> None:
    hook = _hook(faulty, rule=_RULE.replace("place_looked_up()", "no_such_name = 1"))
    with pytest.raises(ConfigurationError, match=r"mm/fault\.c is changed by the target's patch"):
        _build(faulty, hook)


def test_a_host_without_spatch(faulty: FakeLinux, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "spatch" else found(name))
    with pytest.raises(InfrastructureError, match=r"spatch \(coccinelle\)\n  apt-get install"):
        _build(faulty, _hook(faulty))


@pytest.mark.parametrize("rule", ["", "@@\n@@\n// files: mm/fault.c\n"])
def test_one_without_files(fake_linux: FakeLinux, rule: str) -> None:
    _hook(fake_linux, header="", rule=rule)
    with pytest.raises(ConfigurationError, match="does not say which files it is for"):
        read_semantic_patch(fake_linux.target / "hook.cocci")


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside.c"])
def test_files_outside_the_tree_are_refused(fake_linux: FakeLinux, name: str) -> None:
    _hook(fake_linux, header=f"// files: mm/fault.c {name}\n")
    with pytest.raises(ConfigurationError, match=rf"hook\.cocci:2: .*found {name}"):
        read_semantic_patch(fake_linux.target / "hook.cocci")


def test_both_kinds_of_files_are_read(fake_linux: FakeLinux) -> None:
    _hook(fake_linux, header="// files: mm/fault.c mm/ksm.c\n//\n// Optional files: mm/swap.c\n")
    patch = read_semantic_patch(fake_linux.target / "hook.cocci")
    assert patch.needed == ("mm/fault.c", "mm/ksm.c")
    assert patch.optional == ("mm/swap.c",)


def test_one_that_is_no_text(fake_linux: FakeLinux) -> None:
    (fake_linux.target / "hook.cocci").write_bytes(b"// files: mm/memory.c\n// \xe9\n")
    with pytest.raises(ConfigurationError, match=r"hook\.cocci: is no UTF-8 text"):
        fake_linux.build("hook.cocci")


def test_a_missing_one_is_named(fake_linux: FakeLinux) -> None:
    with pytest.raises(ConfigurationError, match=r"no semantic patch .*gone\.cocci"):
        fake_linux.build("gone.cocci")


_TWO_RULES = _RULE + "@@\n@@\n- return 0;\n+ return no_page();\n"


@needs_spatch
def test_a_promise_is_kept_or_an_error(faulty: FakeLinux) -> None:
    promises = (
        "// files: mm/fault.c\n// adds to mm/fault.c: place_looked_up();\n"
        "// takes from mm/fault.c: return 0;\n"
    )
    assert "return no_page();" in _build(faulty, _hook(faulty, promises, _TWO_RULES))
    with pytest.raises(
        ConfigurationError, match=r"should take away `return 0;` in mm/fault\.c, and does not"
    ):
        _build(faulty, _hook(faulty, promises, _RULE))


@needs_spatch
@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ("only where mm/fault.c has: look_up(", True),
        ("only where mm/fault.c has: look_down(", False),
        ("not where mm/fault.c has: look_up(", False),
        ("not where mm/gone.c has: look_up(", True),
        ("only where mm/gone.c has: look_up(", False),
    ],
)
def test_a_tree_that_does_not_need_it_is_left_as_it_is(
    faulty: FakeLinux, condition: str, applies: bool
) -> None:
    hook = _hook(faulty, f"// files: mm/fault.c\n// {condition}\n")
    assert (_CALL in _build(faulty, hook)) == applies
    left_out = [line for line in faulty.said if line.startswith("hook.cocci is left out: ")]
    assert bool(left_out) != applies
    (kernel,) = faulty.cached_kernels()
    record = json.loads((faulty.cache / "kernels" / kernel / "recipe.json").read_text())
    assert record["left_out"] == ([] if applies else ["hook.cocci"])


def test_a_promise_about_another_file_is_refused(fake_linux: FakeLinux) -> None:
    _hook(fake_linux, header="// files: mm/fault.c\n// adds to mm/swap.c: x\n")
    with pytest.raises(ConfigurationError, match=r"something of mm/swap\.c, which is none of its"):
        read_semantic_patch(fake_linux.target / "hook.cocci")
