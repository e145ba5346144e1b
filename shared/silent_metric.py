"""What stands for a counter, gauge or histogram when metrics are off: it takes every call and keeps nothing."""

from typing import Any, Self


class SilentMetric:
    """Has the methods of prometheus-client's metrics that Headrace uses."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def labels(self, *_: Any, **__: Any) -> Self:
        """Itself."""
        return self

    def inc(self, amount: float = 1) -> None:
        """Nothing."""

    def dec(self, amount: float = 1) -> None:
        """Nothing."""

    def set(self, value: float) -> None:
        """Nothing."""

    def observe(self, amount: float) -> None:
        """Nothing."""

    def remove(self, *_: Any) -> None:
        """Nothing."""
