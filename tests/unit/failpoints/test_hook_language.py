# SPDX-License-Identifier: BSD-2-Clause
"""The kernel hook's own parser, compiled for the host, reads settings as the harness does."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_grammar import terms

from harness.errors import ConfigurationError
from harness.failpoints.grammar import Setting, Term, parse_setting
from harness.failpoints.inside.base import same_effect
from harness.failpoints.mechanisms import HOOK

CODE = Path(__file__).resolve().parents[3] / "harness" / "failpoints" / "linux"
REFUSED = "refused"
PROGRAM = """\
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef uint8_t u8; typedef int32_t s32; typedef uint32_t u32; typedef uint64_t u64;
struct seq_file;
#define simple_strtoull strtoull
#define str_has_prefix(text, prefix) (!strncmp(text, prefix, strlen(prefix)))
#define seq_printf(file, ...) printf(__VA_ARGS__)
#define seq_putc(file, character) putchar(character)
#define seq_puts(file, text) fputs(text, stdout)
%s
int main(void)
{
    static char line[1 << 16];
    struct fail_point_term terms[FAIL_POINT_MAX_TERMS];

    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\\n")] = 0;
        int count = parse_setting(line, terms);
        if (count < 0)
            fputs("refused", stdout);
        else if (count == 0)
            fputs("off", stdout);
        for (int i = 0; i < count; i++) {
            fputs(i ? "->" : "", stdout);
            show_term(NULL, &terms[i]);
        }
        putchar('\\n');
        fflush(stdout);
    }
}
"""

Kernel = Callable[[str], str]
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc for the hook's code")


def between(text: str, begin: str, end: str) -> str:
    return text[text.index(begin) : text.index(end)]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """What the kernel makes of a setting: what it shows of it, or `refused`."""
    header, code = (CODE / "fail_point.h").read_text(), (CODE / "fail_point.c").read_text()
    parts = [
        *re.findall(r"^#define FAIL_POINT_MAX_\w+\t\d+", header, re.MULTILINE),
        between(header, "struct fail_point_term {", "struct fail_point {"),
        between(code, "#define ALWAYS", "/* Who sleeps at a fail point"),
        between(code, "/* ---- the language", "/* ---- setting"),
    ]
    folder = tmp_path_factory.mktemp("language")
    (folder / "language.c").write_text(PROGRAM % "\n".join(parts))
    flags = ["-Wall", "-Werror", "-Wno-unused", "-fsanitize=undefined", "-fno-sanitize-recover"]
    build = ["gcc", *flags, "language.c", "-o", "language"]
    subprocess.run(build, cwd=folder, check=True, timeout=120)
    with subprocess.Popen(
        [folder / "language"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        writer, reader = process.stdin, process.stdout

        def ask(text: str) -> str:
            writer.write(text + "\n")
            writer.flush()
            return reader.readline().removesuffix("\n")

        yield ask
        writer.close()


hook_terms = terms().map(
    lambda term: Term(term.action, term.argument, term.ppm, term.count, term.pid)
)
hook_settings = st.lists(hook_terms, min_size=1, max_size=HOOK.max_terms or 1).map(
    lambda terms: Setting(tuple(terms))
)


@given(hook_settings)
def test_the_kernel_reads_every_setting_that_it_is_sent(kernel: Kernel, setting: Setting) -> None:
    assert same_effect(setting, kernel(str(setting)))


words = st.sampled_from(
    ["off", "return", "sleep", "delay", "pause", "yield", "print", "break", "panic", "->", "%", "*",
     "(", ")", "[pid ", "]", "-", ".", "0", "1", "07", "0x1f", "50", "100", "999999999", " "]
)  # fmt: skip


@settings(max_examples=500)
@given(st.lists(words, max_size=10).map("".join))
def test_what_both_read_means_the_same(kernel: Kernel, text: str) -> None:
    shown = kernel(text)
    try:
        setting = parse_setting(text)
    except ConfigurationError:
        return  # the harness is stricter, and sends only what it reads
    if shown != REFUSED:
        assert same_effect(setting, shown)
    # blanks around arrows and `pause[pid 7]` are the harness's freedoms, which its own text has not
    assert same_effect(setting, kernel(str(setting)))


def test_more_terms_than_there_is_room_for(kernel: Kernel) -> None:
    assert kernel("->".join(["1%yield"] * 20)) == "->".join(["1%yield"] * 20)
    assert kernel("->".join(["1%yield"] * 21)) == REFUSED
