# SPDX-License-Identifier: BSD-2-Clause
"""Architectures that Linux is built for: their bases and their compilers."""

import platform
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.kernels.kbuild.architecture import architecture
from harness.kernels.kbuild.builder import linux_builder
from harness.kernels.kbuild.config import parse_fragment
from harness.plan.kernel import SourceRecipe

BUILT = {"x86_64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64le"}
PORTS = {
    "x86_64": {"SERIAL_8250_CONSOLE"},
    "arm64": {"SERIAL_AMBA_PL011_CONSOLE", "SERIAL_8250_PCI", "ARM64_64K_PAGES"},
    "ppc64le": {"HVC_CONSOLE", "PPC_64K_PAGES", "CPU_LITTLE_ENDIAN"},
}


def base(arch: str) -> dict[str, str]:
    file = architecture(arch).base
    return {o.symbol: o.value for o in parse_fragment(file.read_text(), str(file)).values()}


@pytest.mark.parametrize("arch", BUILT)
def test_a_base_has_the_ports_that_the_guest_talks_through(arch: str) -> None:
    options = base(arch)
    assert {symbol for symbol in PORTS[arch] if options.get(symbol) == "y"} == PORTS[arch]


@pytest.mark.parametrize("arch", ["arm64", "ppc64le"])
def test_what_bases_have_in_common_is_equal(arch: str) -> None:
    mine, x86 = base(arch), base("x86_64")
    common = mine.keys() & x86.keys()
    assert {s: mine[s] for s in common} == {s: x86[s] for s in common}
    assert {"DEVTMPFS", "KALLSYMS_ALL", "ZRAM", "PREEMPT"} <= common


def test_an_architecture_without_a_base_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"i386 .* x86_64, arm64, ppc64le"):
        architecture("i386")


def compiler(arch: str, folder: Path, named: str | None) -> str:
    (folder / "race.config").write_text("CONFIG_DEBUG_VM=y\n")
    recipe = SourceRecipe(directory="tree", config="race.config", compiler=named)
    return linux_builder(recipe, arch, folder).compiler


@pytest.mark.parametrize("arch", BUILT)
def test_the_variable_cc_is_for_the_host_s_own_architecture(
    arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "clang")
    monkeypatch.setattr(platform, "machine", lambda: BUILT[arch])
    assert compiler(arch, tmp_path, None) == "clang"
    assert compiler(arch, tmp_path, "gcc-12") == "gcc-12", "the recipe is asked first"
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    prefix = architecture(arch).cross_prefix
    assert compiler(arch, tmp_path, None) == f"{prefix}gcc"
    assert compiler(arch, tmp_path, "gcc-12") == f"{prefix}gcc-12"
