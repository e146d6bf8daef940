# SPDX-License-Identifier: BSD-2-Clause
"""Interleavings drawn as text and as SVG."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from harness.failpoints.diagram import SPANS, Moment, svg_diagram, text_diagram

SVG = "{http://www.w3.org/2000/svg}"


@st.composite
def moments(draw: st.DrawFn) -> Moment:
    start = draw(st.integers(0, 10**9))
    kind = draw(st.sampled_from([*sorted(SPANS), "mark", "pass", "workload", "new kind"]))
    end = start + draw(st.integers(0, 10**8)) * (kind in SPANS)
    column = draw(st.sampled_from(["vCPU 0", "vCPU 1", "vCPU 10", "workload"]))
    text = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), max_size=30)
    return Moment(column, start, end, draw(text), kind, draw(text))


def test_nothing_happened() -> None:
    assert text_diagram([]) == ""
    assert ElementTree.fromstring(svg_diagram([])).tag == SVG + "svg"


def test_long_text_goes_on_below() -> None:
    held = Moment("vCPU 0", 0, 10, "held at a place until another", "held", "goes on at last, yes")
    assert text_diagram([held], column_width=20).splitlines()[2:] == [
        "     0.000  ┌ held at a",
        "            │ place until",
        "            │ another",
        "     0.000  └ goes on at",
        "              last, yes",
    ]


def test_two_columns_fit_a_mail() -> None:
    texts = ["held at somewhere until something else was passed (the-rule)"] * 2
    moments = [Moment(f"vCPU {i}", i, 9, text, "held", text) for i, text in enumerate(texts)]
    said = Moment("workload", 20, 20, "symptom: " + "a word and another, " * 8)
    drawn = text_diagram([*moments, said], [("somewhere", "do_swap_page:return")])
    assert max(map(len, drawn.splitlines())) <= 78
    assert drawn.endswith("\n\nsomewhere  do_swap_page:return\n")


def test_the_svg_has_room_for_its_texts() -> None:
    long = "x" * 150
    legend = [("name", "y" * 200)]
    document = ElementTree.fromstring(svg_diagram([Moment("vCPU 0", 0, 0, long)], legend=legend))
    assert float(document.attrib["width"]) > 200 * 6
    texts = document.findall(SVG + "text")
    assert texts[-1].text == f"name: {'y' * 200}"
    assert float(texts[-1].attrib["y"]) < float(document.attrib["height"])


def test_columns_are_in_the_order_of_their_numbers() -> None:
    header = text_diagram([Moment(f"vCPU {i}", i, i, "here") for i in (10, 2, 0)]).splitlines()[0]
    assert header.split("  ")[-1].strip() == "vCPU 10"
    assert header.index("vCPU 0") < header.index("vCPU 2") < header.index("vCPU 10")


def test_a_moment_inside_a_hold_of_its_column_is_beside_the_bar() -> None:
    held = Moment("vCPU 0", 0, 2_000_000, "held", "held", "released")
    inside = Moment("vCPU 0", 1_000_000, 1_000_000, "said", "workload")
    assert text_diagram([held, inside]).splitlines()[2:] == [
        "     0.000  ┌ held",
        "     1.000  │ • said",
        "     2.000  └ released",
    ]


@given(st.lists(moments(), max_size=12))
def test_every_moment_is_drawn_and_time_goes_down(drawn: list[Moment]) -> None:
    lines = text_diagram(drawn, column_width=60).splitlines()[2:]
    assert len(lines) == sum(2 if moment.kind in SPANS else 1 for moment in drawn)
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)
    text = "\n".join(lines)
    assert all(moment.text in text for moment in drawn)
    assert text.count("┌") - sum(m.text.count("┌") for m in drawn) == text.count("└")

    document = ElementTree.fromstring(svg_diagram(drawn, title="a < b"))
    spans = [moment for moment in drawn if moment.kind in SPANS]
    assert len(document.findall(SVG + "circle")) == len(drawn) - len(spans)
    assert len(document.findall(SVG + "rect")) == 1 + len(spans)
    labels = [element.text or "" for element in document.findall(SVG + "text")]
    assert labels[0] == "a < b"
    assert all(moment.text in labels for moment in drawn)
