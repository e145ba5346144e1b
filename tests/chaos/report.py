"""What a run has shown, one line a promise: printed at the end, and the source of the table in docs/chaos.md."""

from typing import NamedTuple


class Line(NamedTuple):
    """One result."""

    rows: str
    what: str
    injections: int
    messages: int
    seconds: float
    more: str = ""

    def __str__(self) -> str:
        slowest = f"{self.seconds:.1f} s" if self.seconds else "-"
        return f"| {self.rows} | {self.what} | {self.injections:,} | {self.messages:,} | {slowest} | {self.more} |"


HEAD = "| rows | fault | injections | messages | slowest message | |\n| --- | --- | ---: | ---: | ---: | --- |"
lines: list[Line] = []
seeds: list[int] = []


def show(rows: str, what: str, *, injections: int, messages: int, seconds: float = 0.0, more: str = "") -> None:
    """Note a result; the invariants were asserted before."""
    lines.append(Line(rows, what, injections, messages, seconds, more))
