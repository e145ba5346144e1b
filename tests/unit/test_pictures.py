"""The pictures of the dashboards: round axes, short numbers, gaps where nothing is known."""

from typing import Any
from xml.etree import ElementTree

import pytest

from tests.pictures.drawing import LEGENDS, Line, Picture, draw
from tests.pictures.quantity import shown, ticks


@pytest.mark.parametrize(
    ("highest", "expected"),
    [(0, [0, 1]), (1, [0, 0.25, 0.5, 0.75, 1]), (7, [0, 2, 4, 6, 8]), (0.031, [0, 0.01, 0.02, 0.03, 0.04])],
)
def test_an_axis_has_round_numbers_up_to_what_it_shows(highest: float, expected: list[float]) -> None:
    assert ticks(highest) == pytest.approx(expected)


def test_bytes_are_round_in_their_unit() -> None:
    assert [shown(tick, "bytes") for tick in ticks(57 * 2**20, "bytes")] == ["0 B", "20 MiB", "40 MiB", "60 MiB"]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.0005, "s", "500 µs"),
        (0.25, "s", "250 ms"),
        (600, "s", "10 min"),
        (3 * 2**20, "bytes", "3 MiB"),
        (1500, "ops", "1.5 k/s"),
        (0.125, "percentunit", "12.5 %"),
        (12, "short", "12"),
    ],
)
def test_numbers_are_short_and_have_their_unit(value: float, unit: str, expected: str) -> None:
    assert shown(value, unit) == expected


def panel(title: str) -> dict[str, Any]:
    defaults = {"unit": "s", "thresholds": {"steps": [{"value": None}, {"value": 1}]}}
    return {"title": title, "gridPos": {"x": 0, "y": 0, "w": 8, "h": 8}, "fieldConfig": {"defaults": defaults}}


def test_a_picture_is_svg_with_gaps_where_points_are_missing_and_a_legend_that_is_bounded() -> None:
    lines = [Line(f"<line {number}>", [(0, 1), (1, 2), (2, 1), (8, 1), (9, 2)]) for number in range(LEGENDS + 3)]
    svg = draw("A & B", [Picture(panel("lag"), lines), Picture(panel("nothing"), [])], start=0, end=10, step=1)
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    texts = [each.text for each in root.iter(f"{space}text")]
    assert {"A & B", "lag", "nothing", "limit 1 s", "<line 0>", "and 3 more"} <= set(texts)
    curves = [each.get("d") or "" for each in root.iter(f"{space}path") if each.get("fill") == "none"]
    assert len(curves) == len(lines)
    assert all(curve.count("M") == 2 for curve in curves)
