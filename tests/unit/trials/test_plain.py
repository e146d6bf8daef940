# SPDX-License-Identifier: BSD-2-Clause
"""Output of plain workloads: the same symptoms in any chunking, and bounded."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.plan.symptom import SymptomModel
from harness.trials.plain import PlainOutput

SYMPTOMS = (
    SymptomModel(name="a", output="^bad [0-9]+$"),
    SymptomModel(name="b", output="worse"),
    SymptomModel(name="c", ending=["crashed"]),
)
LINES = st.lists(st.sampled_from([b"good", b"bad 7", b"bad", b"even worse", b"", b"\xff\xfe"]))


@given(LINES, st.lists(st.integers(0, 60)))
def test_any_chunking_finds_the_same(lines: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(lines)
    output = PlainOutput(SYMPTOMS)
    ends = [0, *sorted(cuts), max([len(data), *cuts])]
    found = [f for a, b in pairwise(ends) for f in output.feed(data[a:b])]
    found += output.close()
    whole = PlainOutput(SYMPTOMS)
    assert found == [*whole.feed(data), *whole.close()]
    assert [name for name, _ in found] == [
        {b"bad 7": "a", b"even worse": "b"}[line]
        for line in lines
        if line in (b"bad 7", b"even worse")
    ]
    assert output.kept == data


def test_what_is_kept_is_bounded() -> None:
    output = PlainOutput(())
    for _ in range(20):
        output.feed(b"x" * 65536)
    assert len(output.kept) < (1 << 20) + 100
    assert output.kept.endswith(b"[harness: 262144 bytes more were not kept]\n")
