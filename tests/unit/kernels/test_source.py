# SPDX-License-Identifier: BSD-2-Clause
"""Kernels from source, with a tree that builds in a moment."""

import re
import shutil
import threading
from pathlib import Path

import pytest
from fake_linux import MEMORY_C, FakeLinux

from harness.errors import ConfigurationError, InfrastructureError
from harness.files import file_hash
from harness.kernels.kbuild.builder import linux_builder
from harness.kernels.source.process import BuildFailedError
from harness.systems.linux.modules import load_order


def _renamed(text: str) -> str:
    return text.replace("int memory_7;", "int memory_seven;")


def test_a_built_kernel_has_all_its_parts(fake_linux: FakeLinux) -> None:
    kernel = fake_linux.build()
    assert kernel.label == "linux-source-5.10 5.10.223-1 (race.config)"
    assert kernel.release == "5.10.223-fake"
    assert kernel.identity == file_hash(kernel.image)
    kept = kernel.image.parent
    assert "CONFIG_KASAN=y" in (kept / "config").read_text()
    assert "CC      mm/memory.o" in (kept / "build.log").read_text()
    assert (kept / "vmlinux").stat().st_size > 0


def test_what_is_built_in_needs_no_loading(fake_linux: FakeLinux) -> None:
    kernel = fake_linux.build()
    assert kernel.modules is not None
    assert load_order(kernel.modules, ["zram"]) == []
    with pytest.raises(ConfigurationError, match=r"the module xfs.*5\.10\.223-fake"):
        load_order(kernel.modules, ["xfs"])


def test_a_kernel_is_built_once(fake_linux: FakeLinux) -> None:
    first = fake_linux.build()
    shutil.rmtree(fake_linux.cache / "builds")
    shutil.rmtree(fake_linux.cache / "sources")
    assert fake_linux.build() == first
    assert not (fake_linux.cache / "builds").exists()


def test_a_comment_in_the_fragment_is_no_other_kernel(fake_linux: FakeLinux) -> None:
    first = fake_linux.build()
    fake_linux.config("# why\nCONFIG_KASAN=y\n")
    assert fake_linux.build() == first


def test_a_damaged_kernel_is_built_anew(fake_linux: FakeLinux) -> None:
    kernel = fake_linux.build()
    kernel.image.write_bytes(b"half")
    assert fake_linux.build() == kernel
    assert file_hash(kernel.image) == kernel.identity


def test_only_what_a_patch_changes_is_compiled_again(fake_linux: FakeLinux) -> None:
    plain = fake_linux.build()
    assert fake_linux.compiled() == ["mm/memory.c", "mm/swap.c"]
    patch = fake_linux.patch("rename.patch", "mm/memory.c", _renamed)
    patched = fake_linux.build(patch)
    assert fake_linux.compiled() == ["mm/memory.c"]
    assert patched.identity != plain.identity
    assert patched.label == "linux-source-5.10 5.10.223-1 (race.config, rename.patch)"


def test_a_patch_that_goes_leaves_nothing_behind(fake_linux: FakeLinux) -> None:
    plain = fake_linux.build()
    patches = [
        fake_linux.patch("rename.patch", "mm/memory.c", _renamed),
        fake_linux.patch("new.patch", "mm/ksm.c", lambda _: "int ksm;\n"),
    ]
    fake_linux.build(*patches)
    fake_linux.compiled()
    shutil.rmtree(fake_linux.cache / "kernels")
    (fake_linux.objects / "mm/ksm.o").unlink()
    assert fake_linux.build() == plain
    assert fake_linux.compiled() == ["mm/memory.c"]


def test_patches_never_reach_the_unpacked_tree(fake_linux: FakeLinux) -> None:
    fake_linux.build(fake_linux.patch("rename.patch", "mm/memory.c", _renamed))
    (pristine,) = (path for path in (fake_linux.cache / "sources").iterdir() if path.is_dir())
    assert (pristine / "mm/memory.c").read_text() == MEMORY_C
    assert (fake_linux.build_folder / "source/mm/memory.c").read_text() == _renamed(MEMORY_C)


def test_a_patch_may_build_on_the_one_before(fake_linux: FakeLinux) -> None:
    first = fake_linux.patch("one.patch", "mm/memory.c", _renamed)
    (fake_linux.tree / "mm/memory.c").write_text(_renamed(MEMORY_C))
    second = fake_linux.patch(
        "two.patch", "mm/memory.c", lambda text: text.replace("memory_seven", "memory_sieben")
    )
    fake_linux.build(first, second)
    assert "memory_sieben" in (fake_linux.build_folder / "source/mm/memory.c").read_text()


def test_an_option_that_does_not_stick_is_named(fake_linux: FakeLinux) -> None:
    fake_linux.config("CONFIG_KCSAN=y\n")
    with pytest.raises(ConfigurationError) as caught:
        fake_linux.build()
    message = str(caught.value)
    assert f"{fake_linux.target / 'race.config'}:1: CONFIG_KCSAN: asked for y, got n" in message
    assert "depends on HAVE_KCSAN_COMPILER" in message
    assert fake_linux.cached_kernels() == []


def test_an_option_that_does_not_exist_is_named(fake_linux: FakeLinux) -> None:
    fake_linux.config("CONFIG_KASANN=y\n")
    with pytest.raises(ConfigurationError, match=r"no such option; similar: KASAN"):
        fake_linux.build()


def test_the_target_wins_over_the_base(fake_linux: FakeLinux) -> None:
    fake_linux.config("# CONFIG_PREEMPT is not set\n")
    kernel = fake_linux.build()
    assert "CONFIG_PREEMPT=" not in (kernel.image.parent / "config").read_text()


def test_of_several_fragments_a_later_one_wins(fake_linux: FakeLinux) -> None:
    alone = fake_linux.build()
    fake_linux.fragments = ["race.config", "more.config"]
    (fake_linux.target / "more.config").write_text("CONFIG_KASAN=n\n# CONFIG_SMP is not set\n")
    kernel = fake_linux.build()
    config = (kernel.image.parent / "config").read_text()
    assert "CONFIG_KASAN=" not in config
    assert "CONFIG_SMP=" not in config
    assert kernel.label == "linux-source-5.10 5.10.223-1 (race.config, more.config)"
    assert kernel.image.parent != alone.image.parent


def test_a_fragment_of_the_harness_s_own_and_one_of_the_target_instead(
    fake_linux: FakeLinux,
) -> None:
    fake_linux.fragments = ["race.config", "kcsan.config"]
    with pytest.raises(ConfigurationError, match=r"/fragments/kcsan\.config:\d+: CONFIG_KCSAN: "):
        fake_linux.build()
    (fake_linux.target / "kcsan.config").write_text("CONFIG_KASAN=y\n")
    assert fake_linux.build().label.endswith("(race.config, kcsan.config)")


def test_a_fragment_that_is_nowhere(fake_linux: FakeLinux) -> None:
    fake_linux.fragments = ["kmsan.config"]
    message = r"no config fragment .*/kmsan\.config; files of that kind there: race\.config; "
    with pytest.raises(
        ConfigurationError, match=message + r"the harness has .*kasan\.config, kcsan"
    ):
        fake_linux.build()


def test_a_fragment_that_is_no_text(fake_linux: FakeLinux) -> None:
    (fake_linux.target / "race.config").write_bytes(b"CONFIG_KASAN=y\n# caf\xe9\n")
    with pytest.raises(ConfigurationError, match=r"race\.config: is no UTF-8 text"):
        fake_linux.build()


def test_parts_as_modules_are_refused(fake_linux: FakeLinux) -> None:
    fake_linux.config("CONFIG_KASAN=m\n")
    with pytest.raises(ConfigurationError, match=r"modules.*CONFIG_KASAN"):
        fake_linux.build()


def test_a_patch_that_does_not_apply(fake_linux: FakeLinux) -> None:
    fake_linux.build()
    (fake_linux.tree / "mm/memory.c").write_text(MEMORY_C.replace("memory_6;", "other;"))
    patch = fake_linux.patch("rename.patch", "mm/memory.c", _renamed)
    with pytest.raises(ConfigurationError) as caught:
        fake_linux.build(patch)
    message = str(caught.value)
    assert f"{fake_linux.target / patch} does not apply" in message
    assert "mm/memory.c: hunk 1 of 1, at line 4" in message
    assert "expected: int other;" in message
    assert "found:    int memory_6;" in message
    assert len(fake_linux.cached_kernels()) == 1


def test_a_patch_that_does_not_compile(fake_linux: FakeLinux) -> None:
    bad = fake_linux.patch(
        "bad.patch", "mm/memory.c", lambda text: text.replace("int memory_7;", "int memory_7")
    )
    with pytest.raises(ConfigurationError) as caught:
        fake_linux.build(bad)
    message = str(caught.value)
    assert re.search(r"mm/memory\.c:\d+:\d+: error: expected", message)
    assert "error: expected" in message
    assert str(fake_linux.build_folder / "build.log") in message
    assert "changed by the target's patch" in message
    assert "error: expected" in (fake_linux.build_folder / "build.log").read_text()
    assert fake_linux.cached_kernels() == []

    fake_linux.build(fake_linux.patch("good.patch", "mm/memory.c", _renamed))
    assert len(fake_linux.cached_kernels()) == 1


def test_a_failure_elsewhere_is_not_the_patchs(fake_linux: FakeLinux) -> None:
    fake_linux.build()
    (fake_linux.build_folder / "source/mm/swap.c").unlink()
    (fake_linux.build_folder / "source/mm/swap.c").write_text("#error this compiler is too new\n")
    patch = fake_linux.patch("rename.patch", "mm/memory.c", _renamed)
    with pytest.raises(BuildFailedError, match="this compiler is too new") as caught:
        fake_linux.build(patch)
    assert isinstance(caught.value, InfrastructureError)


def test_the_makefile_of_the_caller_gives_no_orders(
    fake_linux: FakeLinux, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAKEFLAGS", "-n -- objects=none")
    monkeypatch.setenv("KBUILD_OUTPUT", "/nowhere")
    assert fake_linux.build().image.exists()


def test_two_at_once_build_once(fake_linux: FakeLinux) -> None:
    kernels = []
    builders = [
        threading.Thread(target=lambda: kernels.append(fake_linux.build())) for _ in range(3)
    ]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)
    assert len(kernels) == 3
    assert len(set(kernels)) == 1
    assert fake_linux.compiled() == ["mm/memory.c", "mm/swap.c"]


def test_files_outside_the_target_are_refused(fake_linux: FakeLinux, tmp_path: Path) -> None:
    (tmp_path / "other.patch").write_text("")
    with pytest.raises(ConfigurationError, match="outside the target's folder"):
        fake_linux.build("../other.patch")


def test_a_missing_patch_is_named(fake_linux: FakeLinux) -> None:
    fake_linux.patch("rename.patch", "mm/memory.c", _renamed)
    with pytest.raises(ConfigurationError, match=r"renamed\.patch; .* there: rename\.patch"):
        fake_linux.build("renamed.patch")


def test_an_architecture_without_a_base(fake_linux: FakeLinux) -> None:
    with pytest.raises(ConfigurationError, match="i386"):
        linux_builder(fake_linux.recipe(), "i386", fake_linux.target)
