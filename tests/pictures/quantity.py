"""Numbers as an axis shows them."""

from math import ceil, floor, log10

STEPS = (1, 2, 2.5, 5, 10)
TICKS = 4
"""Steps of an axis, at most."""


def ticks(highest: float, unit: str = "") -> list[float]:
    """Numbers that are round in ``unit``, from 0 to at least ``highest``."""
    if highest <= 0:
        return [0.0, 1.0]
    if unit == "bytes" and highest >= 1024:
        return [1024 * tick for tick in ticks(highest / 1024, unit)]
    rough = highest / TICKS
    magnitude = 10.0 ** floor(log10(rough))
    step = next(each for each in (step * magnitude for step in STEPS) if each >= rough * 0.999)
    return [step * number for number in range(ceil(highest / step - 1e-9) + 1)]


def shown(value: float, unit: str) -> str:
    """``value`` in Grafana's ``unit``, short."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return _seconds(value)
    if unit == "bytes":
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB"))
    return _scaled(value, 1000, ("", "k", "M", "G")) + ("/s" if unit == "ops" else "")


def _seconds(value: float) -> str:
    if value == 0:
        return "0 s"
    if value < 0.001:
        return f"{value * 1e6:.3g} µs"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s" if value < 120 else f"{value / 60:.3g} min"


def _scaled(value: float, base: int, names: tuple[str, ...]) -> str:
    power = 0
    while value >= base and power < len(names) - 1:
        value /= base
        power += 1
    return f"{value:.3g} {names[power]}".rstrip()
