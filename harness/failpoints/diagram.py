# SPDX-License-Identifier: BSD-2-Clause
"""Draws an interleaving: a column per vCPU, time downwards, as text and as SVG."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape


@dataclass(frozen=True)
class Moment:
    """Something that happened in a column: at an instant, or from `start_ns` to `end_ns`.

    Times are nanoseconds of one clock. `kind` chooses the looks: "held" and "timed-out" are
    spans, which end with `end_text`; "mark", "pass", "workload" and others are instants.
    """

    column: str
    start_ns: int
    end_ns: int
    text: str
    kind: str = "pass"
    end_text: str = ""


SPANS = frozenset({"held", "timed-out"})
"""The kinds that are drawn from their beginning to their end."""


@dataclass(frozen=True)
class _Row:
    time_ns: int
    column: str
    moment: int
    part: str  # "begin", "end" or "instant"
    text: str


def text_diagram(
    moments: Sequence[Moment],
    legend: Sequence[tuple[str, str]] = (),
    column_width: int | None = None,
) -> str:
    """The interleaving as lines of text; times are in ms after the first moment.

    Rows are moments, so distances say nothing. A column is `column_width` characters wide, by
    default as wide as its longest text, but with two columns not so wide that a mail would break
    the lines: longer texts go on below. What no virtual CPU did is written across the columns.
    `legend` explains names that the texts use. Without moments the result is empty.
    """
    rows = _rows(moments)
    columns = [column for column in _columns(moments) if column != ASIDE]
    if not rows:
        return ""
    if column_width is None:
        longest = max((len(row.text) for row in rows if row.column != ASIDE), default=0)
        column_width = min(longest + _MARGIN, _ROOM_IN_MAILS // min(max(len(columns), 1), 2))
    lines = [_line("ms", columns, column_width), _line("", ["-" * 12] * len(columns), column_width)]
    open_spans: dict[str, set[int]] = {column: set() for column in columns}
    for row in rows:
        time = f"{(row.time_ns - rows[0].time_ns) / 1e6:.3f}"
        if row.column == ASIDE:
            width = max(column_width * len(columns), _ROOM_IN_MAILS)
            for text in _wrapped(f"{ASIDE}: {row.text}", width):
                lines.append(_line(time, [text], width))
                time = ""
            continue
        if row.part == "end":
            open_spans[row.column].discard(row.moment)
        bars = {column: "│ " if open_spans[column] else "" for column in columns}
        for number, text in enumerate(_wrapped(row.text, column_width - _MARGIN)):
            glyph = _GLYPHS[row.part][number > 0]
            own = bars[row.column] + glyph + text
            cells = [own if column == row.column else bars[column] for column in columns]
            lines.append(_line(time, cells, column_width))
            time = ""
        if row.part == "begin":
            open_spans[row.column].add(row.moment)
    if legend:
        names = max(len(name) for name, _ in legend)
        lines += ["", *(f"{name.ljust(names)}  {meaning}".rstrip() for name, meaning in legend)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


ASIDE = "workload"
"""The column of what is known to have happened, and not on which virtual CPU."""

_TIME_WIDTH = 10
_MARGIN = 6  # two glyphs, and room before the next column
_ROOM_IN_MAILS = 66
_GLYPHS = {
    "begin": ("┌ ", "│ "),
    "end": ("└ ", "  "),
    "instant": ("• ", "  "),
}
"""Before a row's first line of text, and before the others."""


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most that many characters; a longer word is broken."""
    return textwrap.wrap(text, max(width, 1), break_on_hyphens=False) or [""]


def _line(time: str, cells: Sequence[str], width: int) -> str:
    return (time.rjust(_TIME_WIDTH) + "  " + "".join(c.ljust(width) for c in cells)).rstrip()


_ROW_HEIGHT = 24
_TOP = 56
_TIME_PIXELS = 90
_COLUMN_PIXELS = 240
_CHARACTER_PIXELS = 6.5  # of a sans-serif font of 12 pixels, on average
_BESIDE_PIXELS = 44  # a column's line, and room before the next
_COLOURS = {
    "held": "#f2b84b",
    "timed-out": "#d9534f",
    "mark": "#5b7fb5",
    "workload": "#4f9d69",
    "pass": "#555555",
}


def svg_diagram(
    moments: Sequence[Moment],
    title: str = "Interleaving",
    legend: Sequence[tuple[str, str]] = (),
) -> str:
    """The interleaving as a standalone SVG document, one row per moment, times in ms.

    Holds are bars from their beginning to their end (red when they timed out), the rest dots.
    Columns are as wide as their texts; `legend` explains names that these use.
    """
    rows, columns = _rows(moments), _columns(moments)
    explained = [f"{name}: {meaning}" for name, meaning in legend]
    middle, width = {}, _TIME_PIXELS
    for column in columns:
        middle[column] = width + 14
        texts = [len(row.text) for row in rows if row.column == column]
        width += max(_COLUMN_PIXELS, round(max(texts) * _CHARACTER_PIXELS) + _BESIDE_PIXELS)
    for text in (title, *explained):
        width = max(width, round(len(text) * _CHARACTER_PIXELS * 1.2) + _BESIDE_PIXELS)
    bottom = _TOP + _ROW_HEIGHT * (len(rows) + 1)
    height = bottom + _ROW_HEIGHT * len(legend)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="8" y="18" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for column, x in middle.items():
        parts.append(f'<text x="{x}" y="42" font-weight="bold">{escape(column)}</text>')
        parts.append(
            f'<line x1="{x}" y1="{_TOP - 8}" x2="{x}" y2="{bottom - 8}" stroke="#bbbbbb"/>'
        )
    heights = {(row.moment, row.part): _TOP + _ROW_HEIGHT * i for i, row in enumerate(rows)}
    for index, moment in enumerate(moments):
        parts += _drawn(moment, index, heights, middle[moment.column])
    for row in rows:
        y = heights[row.moment, row.part] + 4
        time_ms = (row.time_ns - rows[0].time_ns) / 1e6
        parts.append(
            f'<text x="{_TIME_PIXELS - 12}" y="{y}" text-anchor="end" fill="#666666">'
            f"{time_ms:.3f}</text>"
        )
        parts.append(f'<text x="{middle[row.column] + 12}" y="{y}">{escape(row.text)}</text>')
    for number, text in enumerate(explained):
        y = bottom + _ROW_HEIGHT * number + 8
        parts.append(f'<text x="8" y="{y}" fill="#666666">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _drawn(moment: Moment, index: int, heights: dict[tuple[int, str], int], x: int) -> list[str]:
    colour = _COLOURS.get(moment.kind, _COLOURS["pass"])
    if moment.kind not in SPANS:
        return [f'<circle cx="{x}" cy="{heights[index, "instant"]}" r="4" fill="{colour}"/>']
    top, bottom = heights[index, "begin"], heights[index, "end"]
    return [
        f'<rect x="{x - 5}" y="{top}" width="10" height="{bottom - top}" rx="2" fill="{colour}"/>'
    ]


def _columns(moments: Sequence[Moment]) -> list[str]:
    # By length first: "vCPU 2" comes before "vCPU 10".
    return sorted({moment.column for moment in moments}, key=lambda name: (len(name), name))


def _rows(moments: Sequence[Moment]) -> list[_Row]:
    rows = []
    for index, moment in enumerate(moments):
        if moment.kind in SPANS:
            rows.append(_Row(moment.start_ns, moment.column, index, "begin", moment.text))
            rows.append(_Row(moment.end_ns, moment.column, index, "end", moment.end_text))
        else:
            rows.append(_Row(moment.start_ns, moment.column, index, "instant", moment.text))
    # An instant span's end must not come before its beginning, nor before what it waited for.
    return sorted(rows, key=lambda row: (row.time_ns, row.part != "begin", row.moment))
