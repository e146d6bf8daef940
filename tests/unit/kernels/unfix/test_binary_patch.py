# SPDX-License-Identifier: BSD-2-Clause
"""Binary patches on tiny ELF files: made where the code fits, refused where it does not."""

import platform
from collections.abc import Callable

import pytest
from marked_kernel import PATCH

from harness.errors import ConfigurationError
from harness.kernels.unfix import BinaryPatch, apply_binary_patch

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the host's gcc makes no x86-64 code"
)
Build = Callable[..., bytes]


def _with(**changes: object) -> BinaryPatch:
    return BinaryPatch.model_validate(PATCH | changes)


@pytest.mark.parametrize("walker", ["rbx", "r12", "rsi"])
def test_patch_is_made_whatever_register_the_code_uses(
    build: Build, patch: BinaryPatch, walker: str
) -> None:
    content = build(walker=walker)

    patched = apply_binary_patch(patch, content, "a kernel")

    (change,) = patched.changes
    assert change.before_text[0] == f"or byte ptr [{walker} + 0x18], 0x1"
    assert change.after_text[0] == f"jmp @{change.address + len(change.before):#x}"
    assert set(change.after_text[1:]) == {"nop"}
    differ = [at for at, (a, b) in enumerate(zip(content, patched.content, strict=True)) if a != b]
    assert len(differ) == change.changed
    assert differ[-1] - differ[0] < len(change.before)
    assert len(patched.content) == len(content)


def test_other_code_is_refused_with_what_was_found(build: Build, patch: BinaryPatch) -> None:
    with pytest.raises(ConfigurationError) as refused:
        apply_binary_patch(patch, build(mask="2"), "a kernel")

    told = str(refused.value)
    assert "mark in a kernel" in told
    assert "1 of 6 instructions" in told
    assert "`again: or byte ptr [%walker + $marked], $marked.mask`" in told
    assert "`or byte ptr [rbx + 0x18], 0x2`" in told


def test_kernel_without_dwarf_is_refused(build: Build, patch: BinaryPatch) -> None:
    with pytest.raises(ConfigurationError, match="no DWARF"):
        apply_binary_patch(patch, build(debug=False), "a kernel")


def test_unknown_function_and_field_are_refused(build: Build) -> None:
    with pytest.raises(ConfigurationError, match="no such function"):
        apply_binary_patch(_with(function="marks"), build(), "a kernel")
    with pytest.raises(ConfigurationError, match=r"no field markt; there are: .*marked"):
        apply_binary_patch(
            _with(fields={"next": "item.links.next", "marked": "item.markt"}), build(), "a kernel"
        )


def test_no_elf_file_is_refused(patch: BinaryPatch) -> None:
    with pytest.raises(ConfigurationError, match="not a readable ELF file"):
        apply_binary_patch(patch, b"\x1f\x8b no kernel", "a kernel")


def test_code_that_does_not_fit_is_refused(build: Build) -> None:
    long = {"name": "no-marks", "start": "again", "to": "unlock", "code": "jmp @unlock\n" * 9}
    with pytest.raises(
        ConfigurationError, match=r"one of the edits no-marks \(13 bytes\) does not fit"
    ):
        apply_binary_patch(_with(edit=[long]), build(), "a kernel")


def test_promise_that_is_not_kept_is_refused(build: Build) -> None:
    useless = {"name": "no-marks", "start": "again", "to": "unlock", "code": "call <work>"}
    promises = {"never": ["call <work>"]}
    with pytest.raises(ConfigurationError, match=r"can still be reached; .* never `call <work>`"):
        apply_binary_patch(_with(edit=[useless], after=promises), build(), "a kernel")
    with pytest.raises(ConfigurationError, match=r"nothing that can be reached is `call <other>`"):
        apply_binary_patch(_with(after={"always": ["call <other>"]}), build(), "a kernel")
    uses = {"uses": [{"register": "walker", "behind": "unlock", "only": ["pop %walker"]}]}
    with pytest.raises(ConfigurationError, match=r"`mov rdi, rbx` at 0x\w+ still uses %walker"):
        apply_binary_patch(_with(after=uses), build(), "a kernel")


def test_pattern_that_fits_twice_is_refused(build: Build) -> None:
    loose = [{"name": "any", "code": "again: mov %a, %b\nunlock: ..."}]
    with pytest.raises(ConfigurationError, match=r"fits in 2 ways, expected one"):
        apply_binary_patch(_with(find=loose), build(), "a kernel")


def test_jump_into_the_middle_of_an_edit_is_refused(build: Build) -> None:
    # `cmp` is overwritten, and the loop still jumps to what was its first instruction
    edit = {"name": "no-marks", "start": "middle", "to": "unlock", "code": "nop"}
    code = PATCH["find"][0]["code"].replace("cmp rdi", "middle: cmp rdi")
    into = {"name": "into", "start": "again", "to": "middle", "code": "jmp @again + 1"}
    with pytest.raises(ConfigurationError, match="no instruction begins at"):
        apply_binary_patch(
            _with(find=[{"name": "marking", "code": code}], edit=[into, edit]), build(), "a kernel"
        )


COLD = """
.type mark.cold, @function
mark.cold:
    {code}
.size mark.cold, . - mark.cold
"""


def test_the_part_that_was_moved_away_is_followed(build: Build, patch: BinaryPatch) -> None:
    unlikely = "test edi, edi\n je mark.cold\n2: ret"
    marks = COLD.format(code="or byte ptr [rbx + 24], 1\n jmp 2b")
    with pytest.raises(ConfigurationError, match=r"`or byte ptr .* can still be reached"):
        apply_binary_patch(patch, build(tail=unlikely, elsewhere=marks), "a kernel")

    harmless = COLD.format(code="call other\n jmp 2b\nother: ret")
    content = build(tail=unlikely, elsewhere=harmless)
    promise = _with(after={"always": ["call <other>"]})
    assert apply_binary_patch(promise, content, "a kernel").changes


def test_a_jump_to_another_function_s_beginning_is_the_end(
    build: Build, patch: BinaryPatch
) -> None:
    assert apply_binary_patch(patch, build(tail="jmp work"), "a kernel").changes


@pytest.mark.parametrize("what", ["work_too", "work_too.cold"])
def test_a_jump_into_another_function_is_refused(
    build: Build, patch: BinaryPatch, what: str
) -> None:
    other = "\n".join(
        f".type {name}, @function\n{name}: nop\n{place}: ret\n.size {name}, . - {name}"
        for name, place in (("work_too", ".Lmiddle"), ("work_too.cold", ".Lnext"))
    )
    goes = "jmp .Lmiddle" if what == "work_too" else "jmp work_too.cold"
    with pytest.raises(
        ConfigurationError,
        match=r"mark in a kernel: the jump `jmp .*` at 0x\w+ cannot be followed: no function",
    ):
        apply_binary_patch(patch, build(tail=goes, elsewhere=other), "a kernel")
