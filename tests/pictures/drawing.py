"""A dashboard as SVG: its panels in their grid, each a picture of lines over time. Nothing that a browser would have to fetch."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from tests.pictures.quantity import shown, ticks

COLUMN, ROW, GAP, HEAD = 50, 30, 10, 46
"""Pixels: of one of Grafana's 24 columns, of one of its rows, between panels, above them all."""
LEFT, RIGHT, TOP, LEGEND_LINE = 58, 12, 30, 15
LEGENDS = 6
"""In a panel's legend; others are counted."""
CHARACTER = 6.1
"""Width of a letter at size 11, about."""

PAPER, BOX, EDGE, INK, FAINT, LIMIT = "#111217", "#181b1f", "#2c3235", "#d8d9da", "#8e9196", "#f2495c"
COLOURS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#b877d9", "#37bbca", "#fa6400", "#c4a2ff", "#8ab8ff", "#96d98d")


class Line(NamedTuple):
    """One series: its legend, and pairs of seconds and a value, in order; a gap is a pair that is missing."""

    legend: str
    points: list[tuple[float, float]]


class Picture(NamedTuple):
    """A panel with its data.

    Args:
        panel: as in the dashboard's JSON.
        lines: its series.
    """

    panel: dict[str, Any]
    lines: list[Line]


def draw(title: str, pictures: Sequence[Picture], start: float, end: float, step: float) -> str:
    """The SVG of a dashboard.

    Args:
        title: of the dashboard.
        pictures: its panels.
        start: left end of every time axis, seconds since 1970.
        end: right end.
        step: seconds between two points; a longer silence is a gap.
    """
    height = HEAD + ROW * max(each.panel["gridPos"]["y"] + each.panel["gridPos"]["h"] for each in pictures)
    width = 24 * COLUMN + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
        _text(GAP + 4, 29, title, INK, size=17),
    ]
    parts += [part for picture in pictures for part in _panel(picture, start, end, step)]
    return "\n".join([*parts, "</svg>", ""])


def _panel(picture: Picture, start: float, end: float, step: float) -> list[str]:
    place, unit = picture.panel["gridPos"], picture.panel["fieldConfig"]["defaults"]["unit"]
    x, y = GAP + place["x"] * COLUMN, HEAD + place["y"] * ROW
    width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
    legend = _legend(picture.lines, x + 12, y + height, width - 24)
    bottom = y + height - 26 - LEGEND_LINE * legend.rows
    limit = _limit(picture.panel)
    highest = max((value for line in picture.lines for _, value in line.points), default=0)
    near = limit is not None and highest > 0.3 * limit
    axis = ticks(max(highest, limit * 1.05) if near and limit is not None else highest, unit)
    area = _Area(x + LEFT, y + TOP, x + width - RIGHT, bottom, start, end, axis[-1])
    parts = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" fill="{BOX}" stroke="{EDGE}"/>',
        _text(x + 12, y + 20, picture.panel["title"], INK, size=12),
    ]
    if limit is not None:
        parts.append(_text(x + width - RIGHT, y + 20, f"limit {shown(limit, unit)}", LIMIT, anchor="end"))
    parts += [_grid(area, value, unit) for value in axis]
    parts += [_time(area, share) for share in (0, 0.5, 1)]
    if near and limit is not None:
        parts.append(f'<path d="M{area.left} {area.down(limit):.1f}H{area.right}" stroke="{LIMIT}" stroke-dasharray="5 4"/>')
    for line, colour in zip(picture.lines, COLOURS * len(picture.lines), strict=False):
        if path := area.path(line.points, step):
            parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"/>')
    return parts + legend.parts


class _Area(NamedTuple):
    """Where lines are drawn."""

    left: float
    top: float
    right: float
    bottom: float
    start: float
    end: float
    highest: float

    def across(self, seconds: float) -> float:
        return self.left + (seconds - self.start) / (self.end - self.start) * (self.right - self.left)

    def down(self, value: float) -> float:
        return self.bottom - value / self.highest * (self.bottom - self.top)

    def path(self, points: list[tuple[float, float]], step: float) -> str:
        path, before = "", None
        for seconds, value in points:
            joined = before is not None and seconds - before <= step * 1.5
            path += f"{'L' if joined else 'M'}{self.across(seconds):.1f} {self.down(value):.1f}"
            before = seconds
        return path


def _grid(area: _Area, value: float, unit: str) -> str:
    y = area.down(value)
    line = f'<path d="M{area.left} {y:.1f}H{area.right}" stroke="{EDGE}"/>'
    return line + _text(area.left - 6, y + 4, shown(value, unit), FAINT, size=10, anchor="end")


def _time(area: _Area, share: float) -> str:
    seconds = round(share * (area.end - area.start))
    anchor = "start" if share == 0 else "end" if share == 1 else "middle"
    x = area.left + share * (area.right - area.left)
    return _text(x, area.bottom + 14, f"{seconds // 60}:{seconds % 60:02d}", FAINT, size=10, anchor=anchor)


class _Legend(NamedTuple):
    rows: int
    parts: list[str]


def _legend(lines: list[Line], x: float, bottom: float, width: float) -> _Legend:
    names = [line.legend for line in lines[:LEGENDS]]
    more = len(lines) - LEGENDS
    rows: list[list[tuple[float, str, str]]] = [[]]
    at = 0.0
    for name, colour in [*zip(names, COLOURS, strict=False), *([(f"and {more} more", "")] if more > 0 else [])]:
        room = 26 + CHARACTER * len(name)
        if rows[-1] and at + room > width:
            rows.append([])
            at = 0.0
        rows[-1].append((at, name, colour))
        at += room
    parts = []
    for number, row in enumerate(rows):
        y = bottom - 10 - LEGEND_LINE * (len(rows) - 1 - number)
        for offset, name, colour in row:
            if colour:
                parts.append(f'<rect x="{x + offset}" y="{y - 6}" width="11" height="3" fill="{colour}"/>')
            parts.append(_text(x + offset + 15, y, name, FAINT))
    return _Legend(len(rows), parts)


def _limit(panel: dict[str, Any]) -> float | None:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return float(steps[1]["value"]) if len(steps) > 1 else None


def _text(x: float, y: float, text: str, colour: str, *, size: int = 11, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
