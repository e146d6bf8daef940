# SPDX-License-Identifier: BSD-2-Clause
"""Kernel configurations: base and fragments, what a fragment may not do, what comes out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.systems.freebsd.architecture import architecture
from harness.systems.freebsd.config import (
    UNTIL_12,
    config_text,
    known_devices,
    option_names,
    parse_config,
    read_config,
    require_known_options,
)

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,12}", fullmatch=True)


def fragment(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "race.conf"
    file.write_text(text)
    return file


def test_comments_and_blanks_say_nothing() -> None:
    found = parse_config("# one\n\n  options \tVM_TEST = 3 # two\n", "f")
    assert [(d.verb, d.argument, d.name, d.where) for d in found] == [
        ("options", "VM_TEST=3", "VM_TEST", "f:3")
    ]


@pytest.mark.parametrize("line", ["CONFIG_KSM=y", "options", "opts WITNESS"])
def test_a_line_of_another_kind_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(ConfigurationError, match=r"f:2: expected `options NAME`"):
        parse_config(f"device md\n{line}\n", "f")


@pytest.mark.parametrize("verb", ["ident MINE", "cpu HAMMER", 'include "GENERIC"'])
def test_a_fragment_leaves_to_the_base_what_is_its(tmp_path: Path, verb: str) -> None:
    with pytest.raises(ConfigurationError, match=r"race\.conf:1: a target's configuration has no"):
        read_config(architecture("x86_64").base, [fragment(tmp_path, verb + "\n")])


@pytest.mark.parametrize("name", ["INVARIANTS", "INVARIANT_SUPPORT"])
def test_a_kernel_without_assertions_is_refused(tmp_path: Path, name: str) -> None:
    file = fragment(tmp_path, f"options WITNESS\nnooptions {name}\n")
    with pytest.raises(ConfigurationError, match=rf"race\.conf:2: .*without {name}"):
        read_config(architecture("x86_64").base, [file])


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_the_bases_have_what_guests_and_symptoms_need(tmp_path: Path, arch: str) -> None:
    options = option_names(read_config(architecture(arch).base, [fragment(tmp_path, "")]))
    assert options >= {"INVARIANTS", "INVARIANT_SUPPORT", "DDB", "MD_ROOT", "FFS", "SMP"}


def test_an_architecture_without_guests_is_named() -> None:
    with pytest.raises(ConfigurationError, match="not for ppc64le"):
        architecture("ppc64le")


@given(st.lists(st.tuples(st.booleans(), NAMES), max_size=20))
def test_the_last_word_on_an_option_holds(words: list[tuple[bool, str]]) -> None:
    text = "".join(f"{'options' if on else 'nooptions'} {name}\n" for on, name in words)
    last = {name: on for on, name in words}
    expected = {name for name, on in last.items() if on}
    assert option_names(parse_config(text, "f")) == expected


@given(st.lists(NAMES, max_size=10, unique=True))
def test_what_is_written_is_read_back_the_same(names: list[str]) -> None:
    directives = parse_config("".join(f"options {name}=1\n" for name in names), "f")
    written = parse_config(
        config_text(directives, Path("/tree")).replace("ident\tHARNESS\n", ""), "g"
    )
    assert [d.argument for d in written[: len(names)]] == [d.argument for d in directives]


def test_options_of_the_architecture_are_known_too(tmp_path: Path) -> None:
    (tmp_path / "sys/conf").mkdir(parents=True)
    (tmp_path / "sys/conf/options").write_text("DDB\n")
    (tmp_path / "sys/conf/options.arm64").write_text("VFP opt_global.h\n")
    directives = parse_config("options DDB\noptions VFP\n", "f")
    require_known_options(directives, tmp_path, "arm64")
    with pytest.raises(ConfigurationError, match="f:2: options VFP"):
        require_known_options(directives, tmp_path, "amd64")


@pytest.mark.parametrize(
    ("files", "devices"),
    [
        ("dev/random/randomdev.c\t\toptional random\n", ["random"]),  # release 10
        ("crypto/sha2/sha2.c\toptional crypto | geom_bde | \\\n\trandom | sctp\n", ["random"]),
        ("dev/random/fortuna.c\toptional random !random_loadable\n", ["random"]),  # release 12
        # releases 13 to 15
        ("dev/random/randomdev.c\tstandard\ndev/x.c\toptional !random_loadable # random\n", []),
        ("dev/virtio/random/virtio_random.c\toptional\tvirtio_random\n", []),
    ],
)
def test_a_device_that_older_trees_need_is_known_by_what_is_built_for_it(
    tmp_path: Path, files: str, devices: list[str]
) -> None:
    (tmp_path / "sys/conf").mkdir(parents=True)
    (tmp_path / "sys/conf/files").write_text(files)
    known = known_devices(UNTIL_12, tmp_path, "amd64")
    assert [device.name for device in known] == devices
