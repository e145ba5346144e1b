"""A dashboard as we describe it, and as Grafana reads it."""

from typing import Any, NamedTuple

WIDTH = 24
"""Of Grafana's grid."""
HEIGHT = 8
SOURCE = {"type": "prometheus", "uid": "${source}"}


class Panel(NamedTuple):
    """One picture.

    Args:
        title: what it shows.
        unit: Grafana's name of it: ``s``, ``bytes``, ``ops``, ``short``, ``percentunit``.
        queries: legend, with ``{{label}}`` in it, -> PromQL.
        limit: a promise, drawn as a line; None: there is none.
        width: columns of 24.
        note: what a reader should know.
    """

    title: str
    unit: str
    queries: dict[str, str]
    limit: float | None = None
    width: int = 8
    note: str = ""


class Board(NamedTuple):
    """One dashboard; ``name`` is the file's."""

    name: str
    title: str
    panels: list[Panel]


def as_json(board: Board) -> dict[str, Any]:
    """Grafana's model of ``board``; the data source is a variable, so it fits any Grafana."""
    panels, x, y = [], 0, 0
    for number, panel in enumerate(board.panels, start=1):
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        panels.append(_panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": HEIGHT}))
        x += panel.width
    return {
        "uid": f"headrace-{board.name}",
        "title": f"Headrace / {board.title}",
        "tags": ["headrace"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [{"type": "dashboards", "tags": ["headrace"], "title": "Headrace", "asDropdown": True, "keepTime": True}],
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Data source"}]},
        "panels": panels,
    }


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    custom: dict[str, Any] = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False}
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
        custom["thresholdsStyle"] = {"mode": "line"}
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.note,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": custom, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": SOURCE}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }
