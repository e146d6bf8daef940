# SPDX-License-Identifier: BSD-2-Clause
"""Configuration fragments."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.kernels.kbuild.architecture import architecture
from harness.kernels.kbuild.config import check_config, config_text, merge, parse_fragment

_values = st.one_of(
    st.sampled_from(["y", "m", "n"]),
    st.integers(-(2**31), 2**63).map(str),
    st.integers(0, 2**64 - 1).map(hex),
    st.text(st.characters(codec="ascii", exclude_characters='"\\\n\r\t', exclude_categories=["Cc"]))
    .map(str.strip)
    .map(lambda text: f'"{text}"'),
)
_fragments = st.dictionaries(st.from_regex(r"[A-Z0-9][A-Z0-9_]{0,20}", fullmatch=True), _values)


@given(_fragments)
def test_written_options_read_back(values: dict[str, str]) -> None:
    text = "".join(f"CONFIG_{symbol}={value}\n" for symbol, value in values.items())
    options = parse_fragment(text, "race.config")
    assert {option.symbol: option.value for option in options.values()} == values
    again = parse_fragment(config_text(options), "asked.config")
    assert {option.symbol: option.value for option in again.values()} == values


@given(_fragments, _fragments)
def test_the_later_fragment_wins(first: dict[str, str], second: dict[str, str]) -> None:
    parsed = [
        parse_fragment("".join(f"CONFIG_{s}={v}\n" for s, v in values.items()), "f")
        for values in (first, second)
    ]
    merged = {symbol: option.value for symbol, option in merge(*parsed).items()}
    assert merged == first | second


@given(_fragments)
def test_what_came_out_as_asked_is_no_complaint(values: dict[str, str]) -> None:
    built_in = {symbol: value for symbol, value in values.items() if value != "m"}
    options = parse_fragment("".join(f"CONFIG_{s}={v}\n" for s, v in built_in.items()), "f")
    check_config(options, config_text(options), Path("/nonexistent"))


@given(st.text())
def test_any_text_is_read_or_refused_by_line(text: str) -> None:
    try:
        options = parse_fragment(text, "race.config")
    except ConfigurationError as error:
        assert str(error).startswith("race.config:")
    else:
        assert all(option.where.startswith("race.config:") for option in options.values())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("CONFIG_KSM", "race.config:1: expected"),
        ("\nKSM=y", "race.config:2: expected"),
        ("CONFIG_KSM=yes", "race.config:1: expected"),
        ("CONFIG_KSM = y", "race.config:1: expected"),
        ("# CONFIG_KSM=y", "looks like an option but is a comment"),
        ("CONFIG_KSM=y\n# CONFIG_KSM is not set", "race.config:2: .* race.config:1 asks for y"),
    ],
)
def test_what_is_no_option_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_fragment(text, "race.config")


def test_an_option_that_is_off_may_be_unknown(tmp_path: Path) -> None:
    check_config(parse_fragment("# CONFIG_SLOB is not set", "f"), "CONFIG_SLUB=y\n", tmp_path)


def test_every_lost_option_is_in_the_one_message(tmp_path: Path) -> None:
    (tmp_path / "mm").mkdir()
    (tmp_path / "mm/Kconfig").write_text(
        "config KSM\n\tbool\n\tdepends on MMU\n\tdepends on SHMEM && \\\n\t  SWAP\n"
        "if NUMA\nconfig NUMA_EMU\n\tbool\nendif\n"
    )
    options = parse_fragment("CONFIG_KSM=y\nCONFIG_NUMA_EMU=y\nCONFIG_KSMM=y\n", "f")
    with pytest.raises(ConfigurationError) as caught:
        check_config(options, "# CONFIG_KSM is not set\n", tmp_path)
    message = str(caught.value)
    assert (
        "f:1: CONFIG_KSM: asked for y, got n (mm/Kconfig:1: depends on MMU and on SHMEM" in message
    )
    assert "f:2: CONFIG_NUMA_EMU: asked for y, got n (see mm/Kconfig:7: it may lie in" in message
    assert "f:3: CONFIG_KSMM: asked for y, got n; this kernel has no such option" in message
    assert "similar: KSM" in message


def test_what_a_lost_option_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "Kconfig").write_text(
        "config HAVE_KCSAN_COMPILER\n\tdef_bool $(cc-option,-fsanitize=thread)\n\n"
        "config KCSAN\n\tbool\n\tdepends on HAVE_KCSAN_COMPILER && 64BIT\n"
        "\tdepends on DEBUG_KERNEL && !KASAN && (PREEMPT=y || HZ > 100)\n"
    )
    config = 'CONFIG_CC_VERSION_TEXT="gcc (Debian) 9.4.0"\nCONFIG_KASAN=y\nCONFIG_DEBUG_KERNEL=y\n'
    with pytest.raises(ConfigurationError) as caught:
        check_config(parse_fragment("CONFIG_KCSAN=y\n", "f"), config, tmp_path)
    assert str(caught.value).endswith(
        "; HAVE_KCSAN_COMPILER is off (gcc (Debian) 9.4.0 fails the test at Kconfig:1: name "
        "another)"
        "; 64BIT is off; KASAN is on)"
    )


def test_a_number_out_of_range_and_a_module_say_what_may_be(tmp_path: Path) -> None:
    for arch in ("arm", "x86"):
        (tmp_path / "arch" / arch).mkdir(parents=True)
        (tmp_path / "arch" / arch / "Kconfig").write_text(
            f'config NR_CPUS\n\tint "CPUs"\n\trange 2 {len(arch)}\n\tdepends on SMP\n'
            'config EXT4_FS\n\ttristate "ext4"\n\tdepends on BLOCK\n'
        )
    with pytest.raises(ConfigurationError) as caught:
        check_config(
            parse_fragment("CONFIG_NR_CPUS=800\nCONFIG_EXT4_FS=m\n", "f"),
            "CONFIG_NR_CPUS=3\nCONFIG_EXT4_FS=y\n",
            tmp_path,
            "x86",
        )
    said = str(caught.value).splitlines()[1:]
    assert said == [
        "  f:1: CONFIG_NR_CPUS: asked for 800, got 3 (arch/x86/Kconfig:1: range 2 3)",
        "  f:2: CONFIG_EXT4_FS: asked for m, got y; nothing would load a module: ask for =y",
    ]


@pytest.mark.parametrize("arch", ["x86_64", "arm64", "ppc64le"])
def test_the_folder_of_an_architecture_is_its_image_s(arch: str) -> None:
    known = architecture(arch)
    assert known.folder in {"x86", "arm64", "powerpc"}
    assert known.image == "vmlinux" or known.image.startswith(f"arch/{known.folder}/boot/")


@pytest.mark.parametrize("arch", ["x86_64", "arm64", "ppc64le"])
def test_a_base_gives_a_reason_for_every_group(arch: str) -> None:
    lines = architecture(arch).base.read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if line.startswith("CONFIG_"):
            assert before.startswith(("#", "CONFIG_")), f"{line} stands alone"
