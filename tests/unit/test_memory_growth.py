"""The leak detector's comparison: it names the line and the type."""

import tracemalloc
from collections.abc import Iterator

import pytest

from workers.memory import growth

KEPT: list[object] = []


class Leaked:
    """What is kept by mistake."""

    def __init__(self) -> None:
        self.payload = bytearray(10_000)


def leak(count: int) -> None:
    KEPT.extend(Leaked() for _ in range(count))


@pytest.fixture
def tracing() -> Iterator[None]:
    tracemalloc.start(growth.FRAMES)
    yield
    tracemalloc.stop()
    KEPT.clear()


def test_a_planted_leak_is_named_by_line_and_type(tracing: None) -> None:
    leak(10)  # before the first picture: always there
    before = growth.picture()
    leak(300)
    after = growth.picture()
    lines = growth.growing_lines(before, after, ())
    assert __file__ in lines[0].place
    assert lines[0].bytes >= 300 * 10_000
    assert abs(lines[0].blocks - 600) < 50
    types = {each.name: each.more for each in growth.growing_types(before, after)}
    assert abs(types[f"{__name__}.Leaked"] - 300) <= 5


def test_what_is_always_there_is_no_growth(tracing: None) -> None:
    leak(100)
    before = growth.picture()
    after = growth.picture()
    assert not [line for line in growth.growing_lines(before, after, ()) if __file__ in line.place]
    assert "Leaked" not in " ".join(each.name for each in growth.growing_types(before, after))


def test_a_library_s_allocation_tells_who_called_it(tracing: None) -> None:
    import json

    before = growth.picture()
    KEPT.append(json.loads("[" + ",".join(["[1000]"] * 50_000) + "]"))
    lines = growth.growing_lines(before, growth.picture(), ())
    assert any("json" in line.place and __file__ in line.called_from for line in lines)


def test_a_report_is_bounded(tracing: None) -> None:
    before = growth.picture()
    for number in range(40):
        exec(compile("\n" * number + "KEPT.append(bytearray(5000))", f"line{number}.py", "exec"), {"KEPT": KEPT})
    assert len(growth.growing_lines(before, growth.picture(), ())) == growth.SHOWN
