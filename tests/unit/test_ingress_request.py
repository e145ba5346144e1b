"""Reading a body: what slow, large and leaving clients may hold, and for how long."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from workers.ingress import request
from workers.ingress.answer import Refused
from workers.ingress.request import Disconnected, Intake, Request


def incoming(chunks: Iterable[bytes], intake: Intake, *, then: str = "") -> Request:
    """A request whose body comes in ``chunks``; ``then`` it ends, or the client "stalls" or "leaves"."""
    events = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]

    async def receive() -> dict[str, Any]:
        if events:
            return events.pop(0)
        if then == "stalls":
            await asyncio.Event().wait()
        return {"type": "http.disconnect"} if then == "leaves" else {"type": "http.request"}

    return Request({"headers": [(b"transfer-encoding", b"chunked")]}, receive, intake)


def refusal(it: Request, bytes_max: int = 100) -> Refused:
    with pytest.raises(Refused) as caught:
        asyncio.run(it.body(bytes_max))
    return caught.value


def test_a_body_is_its_pieces_in_order() -> None:
    assert asyncio.run(incoming([b"a", b"", b"b"], Intake()).body(2)) == b"ab"


def test_a_client_that_stalls_gets_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "BODY_SECONDS_MAX", 0.01)
    assert refusal(incoming([b"a"], Intake(), then="stalls")).answer.status == 408


def test_a_client_that_leaves_gets_nothing() -> None:
    with pytest.raises(Disconnected):
        asyncio.run(incoming([b"a"], Intake(), then="leaves").body(100))


def test_reading_ends_with_the_first_byte_too_many() -> None:
    assert refusal(incoming([b"x" * 60, b"x" * 41], Intake(), then="stalls")).answer.status == 413


def test_what_a_refused_client_still_sends_is_read_and_forgotten_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "DISCARD_SECONDS_MAX", 0.01)
    monkeypatch.setattr(request, "DISCARD_BYTES_MAX", 250)
    intake = Intake()
    for chunks, then in (([b"x" * 100] * 2, ""), ([b"x" * 100] * 9, "stalls"), ([b"x"], "stalls"), ([b"x"], "leaves")):
        asyncio.run(incoming(chunks, intake, then=then).discard())
    assert intake.held == 0


def test_all_bodies_together_are_bounded_until_they_are_answered() -> None:
    intake = Intake(bytes_max=100)
    first, second = incoming([b"x" * 60], intake), incoming([b"x" * 30, b"x" * 30], intake)
    asyncio.run(first.body(100))
    assert refusal(second).answer.status == 503
    first.finish()
    second.finish()
    assert intake.held == 0
    assert len(asyncio.run(incoming([b"x" * 100], intake).body(100))) == 100
