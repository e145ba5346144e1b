"""What a benchmark found: its series, and how each stated bound came out. As a table for people and JSON for machines."""

from statistics import median
from typing import Any, NamedTuple

from rich.table import Table


class Series(NamedTuple):
    """One quantity, measured a few times.

    Args:
        name: whose, or of what.
        unit: of the values.
        values: in the order of measuring.
    """

    name: str
    unit: str
    values: list[float]

    @property
    def median(self) -> float:
        """The middle value."""
        return median(self.values)


class Bound(NamedTuple):
    """A promise and what became of it.

    Args:
        what: in words.
        value: as measured.
        limit: what it is held against.
        at_least: whether the limit is the lowest or the highest value that keeps the promise.
        unit: of both; ``x`` for a ratio.
    """

    what: str
    value: float
    limit: float
    at_least: bool = True
    unit: str = "x"

    @property
    def met(self) -> bool:
        """Whether the promise is kept."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


class Verdict(NamedTuple):
    """One benchmark's result.

    Args:
        name: ``drain``, ``enqueue`` or ``idle``.
        parameters: sizes and the like.
        faults: what was stored or done wrongly; a rate of wrong work is worth nothing.
    """

    name: str
    parameters: dict[str, Any]
    series: list[Series]
    bounds: list[Bound]
    faults: list[str]

    @property
    def met(self) -> bool:
        """Every bound, and no fault."""
        return not self.faults and all(bound.met for bound in self.bounds)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            **self.parameters,
            "series": [{**each._asdict(), "median": each.median} for each in self.series],
            "bounds": [{**each._asdict(), "met": each.met} for each in self.bounds],
            "faults": self.faults,
        }

    def as_tables(self) -> list[Table]:
        """For a terminal."""
        measured = Table(title=f"{self.name}: {', '.join(f'{name} {value}' for name, value in self.parameters.items())}")
        for heading in ("", "min", "median", "max"):
            measured.add_column(heading, justify="right" if heading else "left")
        for each in self.series:
            numbers = (min(each.values), each.median, max(each.values))
            measured.add_row(f"{each.name}, {each.unit}", *(f"{number:,.1f}" for number in numbers))
        bounds = Table()
        for heading in ("bound", "limit", "measured", ""):
            bounds.add_column(heading, justify="left" if heading in ("bound", "") else "right")
        for bound in self.bounds:
            limit = f"{'>=' if bound.at_least else '<='} {bound.limit:g} {bound.unit}"
            outcome = "met" if bound.met else "[bold red]NOT MET[/]"
            bounds.add_row(bound.what, limit, f"{bound.value:,.2f} {bound.unit}", outcome)
        return [measured, bounds]


def ratio(what: str, ours: Series, theirs: Series, limit: float) -> Bound:
    """A bound on the ratio of two medians."""
    return Bound(f"{what}: {ours.name} / {theirs.name}", ours.median / theirs.median, limit)
