# SPDX-License-Identifier: BSD-2-Clause
"""The workload's lines: hostile bytes in any chunking are noise, never an exception."""

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.trials.workload import WorkloadEvent, WorkloadOutput

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
lines = st.one_of(
    st.binary(max_size=40),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({"event": json_values, "t": json_values}).map(
        lambda value: json.dumps(value).encode()
    ),
    st.sampled_from(
        [
            b'{"event":"done","t":1e999}',
            b'{"event":"done","t":-Infinity}',
            b'{"event":"done","t":NaN}',
            b'{"event":"done","t":1' + b"0" * 400 + b"}",
            b'{"event":"done","t":1' + b"0" * 5000 + b"}",
            b"[" * 50_000,
            b'{"event":"done","t":2,"x":"' + b"y" * 70_000 + b'"}',
            b"z" * 200_000,
        ]
    ),
)


def events(pieces: list[bytes]) -> tuple[list[WorkloadEvent], list[str]]:
    output = WorkloadOutput()
    return [event for piece in pieces for event in output.feed(piece)], output.noise


@given(st.lists(lines, max_size=6), st.lists(st.integers(min_value=0), max_size=10))
def test_any_bytes_in_any_chunking_give_the_same_events(
    parts: list[bytes], cuts: list[int]
) -> None:
    data = b"\n".join(parts) + b"\n"
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    assert events(pieces) == events([data])
    assert all(math.isfinite(event.seconds) for event in events([data])[0])


@given(st.floats(0, 1e6), st.dictionaries(st.sampled_from("nxy"), st.integers()))
def test_an_event_comes_back_as_it_was_said(seconds: float, fields: dict[str, int]) -> None:
    line = json.dumps({"event": "attempt", "t": seconds} | fields).encode() + b"\n"
    assert events([line]) == ([WorkloadEvent("attempt", seconds, fields)], [])


def test_a_shells_message_is_kept_as_noise() -> None:
    said = b'sh: /workload: not found\n{"event":"start","t":0}\n'
    got, noise = events([said])
    assert [event.kind for event in got] == ["start"]
    assert noise == ["sh: /workload: not found"]


@pytest.mark.parametrize(
    "line", [b'{"event":"done","t":1e400}', b'{"event":"done","t":1' + b"0" * 400 + b"}"]
)
def test_a_time_that_is_no_number_is_no_event(line: bytes) -> None:
    got, noise = events([line + b"\n"])
    assert got == []
    assert len(noise) == 1


def test_noise_is_bounded_and_so_is_an_endless_line() -> None:
    output = WorkloadOutput()
    for _ in range(1000):
        output.feed(b"noise\n")
    assert len(output.noise) == 20
    for _ in range(100):
        output.feed(b"x" * 65536)
    assert len(output._rest) <= 65537
    assert [event.kind for event in output.feed(b'\n{"event":"done","t":1}\n')] == ["done"]
