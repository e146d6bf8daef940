# SPDX-License-Identifier: BSD-2-Clause
"""Draws an interleaving: a column per vCPU, time downwards, as text and as SVG."""

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


def text_diagram(moments: Sequence[Moment], column_width: int | None = None) -> str:
    """The interleaving as lines of text; times are in ms after the first moment.

    Rows are moments, so distances say nothing. `column_width` is in characters; what does not
    fit ends with "…". By default columns are as wide as the longest text. Without moments the
    result is empty.
    """
    rows, columns = _rows(moments), _columns(moments)
    if not rows:
        return ""
    if column_width is None:
        column_width = max(len(row.text) for row in rows) + _MARGIN
    lines = [_line("ms", columns, column_width), _line("", ["-" * 12] * len(columns), column_width)]
    open_spans: dict[str, set[int]] = {column: set() for column in columns}
    for row in rows:
        if row.part == "end":
            open_spans[row.column].discard(row.moment)
        cells = []
        for column in columns:
            inside = "│ " if open_spans[column] else "  "
            if column == row.column:
                glyph = {"begin": "┌ ", "end": "└ ", "instant": "• "}[row.part]
                cells.append((inside if open_spans[column] else "") + glyph + row.text)
            else:
                cells.append(inside.rstrip())
        if row.part == "begin":
            open_spans[row.column].add(row.moment)
        time_ms = (row.time_ns - rows[0].time_ns) / 1e6
        lines.append(_line(f"{time_ms:.3f}", cells, column_width))
    return "\n".join(lines) + "\n"


_TIME_WIDTH = 10
_MARGIN = 6  # two glyphs, and room before the next column


def _line(time: str, cells: Sequence[str], width: int) -> str:
    fitted = [cell if len(cell) < width else cell[: width - 2] + "…" for cell in cells]
    return (time.rjust(_TIME_WIDTH) + "  " + "".join(c.ljust(width) for c in fitted)).rstrip()


_ROW_HEIGHT = 24
_TOP = 56
_TIME_PIXELS = 90
_COLUMN_PIXELS = 380
_COLOURS = {
    "held": "#f2b84b",
    "timed-out": "#d9534f",
    "mark": "#5b7fb5",
    "workload": "#4f9d69",
    "pass": "#555555",
}


def svg_diagram(moments: Sequence[Moment], title: str = "Interleaving") -> str:
    """The interleaving as a standalone SVG document, one row per moment, times in ms.

    Holds are bars from their beginning to their end (red when they timed out), the rest dots.
    """
    rows, columns = _rows(moments), _columns(moments)
    width = _TIME_PIXELS + _COLUMN_PIXELS * max(1, len(columns))
    height = _TOP + _ROW_HEIGHT * (len(rows) + 1)
    middle = {c: _TIME_PIXELS + _COLUMN_PIXELS * i + 14 for i, c in enumerate(columns)}
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
            f'<line x1="{x}" y1="{_TOP - 8}" x2="{x}" y2="{height - 8}" stroke="#bbbbbb"/>'
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
