"""How far a run is: a bar on a terminal, a plain line every few seconds anywhere else; always on stderr."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from shared.clock import monotonic_seconds

LINE_SECONDS = 10.0


class Display:
    """Shows a run of ``planned`` messages while it is entered."""

    def __init__(self, planned: int) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=console, refresh_per_second=2)  # each redraw costs CPU that the fleet needs
        self._live = console.is_terminal
        self._console = console
        self._tasks = {name: self._bars.add_task(name, total=planned) for name in ("sent", "accepted", "settled")}
        self._planned = planned
        self._next_line = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._bars.stop()

    def show(self, *, sent: int, accepted: int, settled: int) -> None:
        """Where it stands; ``settled`` is stored or dead-lettered."""
        if self._live:
            for name, count in (("sent", sent), ("accepted", accepted), ("settled", settled)):
                self._bars.update(self._tasks[name], completed=count)
        elif monotonic_seconds() >= self._next_line:
            self._next_line = monotonic_seconds() + LINE_SECONDS
            self.say(f"of {self._planned:,}: sent {sent:,}, accepted {accepted:,}, settled {settled:,}")

    def say(self, line: str) -> None:
        """A line above the bars."""
        self._console.print(line, highlight=False, soft_wrap=True)
