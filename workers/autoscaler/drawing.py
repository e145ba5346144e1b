"""A simulated run, drawn: for a terminal as lines of blocks, for a page as SVG without a script or a byte from elsewhere."""

import itertools
from collections.abc import Callable, Sequence

from workers.autoscaler.simulator import Second

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH, PANEL_HEIGHT, GAP, MARGIN = 960, 150, 46, 60
INK = {"arrivals": "#2563eb", "lag": "#dc2626", "target": "#9ca3af", "workers": "#16a34a"}

Curve = tuple[str, Callable[[Second], float]]

PANELS: tuple[tuple[str, tuple[Curve, ...]], ...] = (
    ("messages a second", (("arrivals", lambda second: second.arrivals),)),
    ("lag, seconds", (("lag", lambda second: second.lag_seconds),)),
    ("workers", (("target", lambda second: second.target), ("workers", lambda second: second.workers))),
)


def for_terminal(seconds: Sequence[Second], width: int = 72) -> list[str]:
    """A line a quantity; each column shows the highest value of its stretch of time."""
    lines = []
    for title, curves in PANELS:
        name, value = curves[-1]
        values = _highest([value(second) for second in seconds], width)
        top = max(values) or 1.0
        bars = "".join(BLOCKS[round(each / top * (len(BLOCKS) - 1))] for each in values)
        lines.append(f"{name:9}{bars}  at most {max(values):g} ({title})")
    return lines


def as_svg(seconds: Sequence[Second]) -> str:
    """A drawing of three panels over one axis of time."""
    height = len(PANELS) * (PANEL_HEIGHT + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (title, curves) in enumerate(PANELS):
        parts += _panel(seconds, title, curves, top=GAP + number * (PANEL_HEIGHT + GAP))
    return "\n".join([*parts, "</svg>", ""])


def _panel(seconds: Sequence[Second], title: str, curves: Sequence[Curve], top: int) -> list[str]:
    most = max(max(value(second) for second in seconds) for _, value in curves) or 1.0
    bottom, right = top + PANEL_HEIGHT, WIDTH - MARGIN
    parts = [
        f'<text x="{MARGIN}" y="{top - 10}" fill="#111827">{title}</text>',
        f'<line x1="{MARGIN}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="#9ca3af"/>',
        f'<text x="{MARGIN - 8}" y="{top + 5}" text-anchor="end" fill="#6b7280">{most:g}</text>',
        f'<text x="{MARGIN - 8}" y="{bottom}" text-anchor="end" fill="#6b7280">0</text>',
        f'<text x="{right}" y="{bottom + 18}" text-anchor="end" fill="#6b7280">{len(seconds)} s</text>',
    ]
    for place, (name, value) in enumerate(curves):
        heights = _highest([value(second) for second in seconds], right - MARGIN)
        step = (right - MARGIN) / max(1, len(heights) - 1)
        points = " ".join(
            f"{MARGIN + at * step:.1f},{bottom - each / most * PANEL_HEIGHT:.1f}" for at, each in enumerate(heights)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{INK[name]}" stroke-width="1.5"/>')
        x = right - 90 * (len(curves) - place - 1)
        parts.append(f'<text x="{x}" y="{top - 10}" text-anchor="end" fill="{INK[name]}">{name}</text>')
    return parts


def _highest(values: Sequence[float], width: int) -> list[float]:
    """At most ``width`` values, each the highest of its stretch."""
    if len(values) <= width:
        return list(values)
    edges = [at * len(values) // width for at in range(width + 1)]
    return [max(values[start:end]) for start, end in itertools.pairwise(edges)]
