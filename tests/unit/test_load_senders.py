"""What an answer of the edge says of a message."""

import asyncio

import pytest

from loadgen.http import Response
from loadgen.senders import ApiLink, NotAccepted
from tests.factory import message


class FakeConnection:
    """Answers every request with ``status``."""

    def __init__(self, status: int) -> None:
        self._status = status

    async def request(self, head: str, body: bytes = b"") -> Response:
        return Response(self._status, None)


@pytest.mark.parametrize(
    ("status", "again", "certain"), [(401, False, True), (429, True, True), (503, True, False), (500, False, False)]
)
def test_only_a_refusal_of_the_request_itself_says_that_the_message_was_not_taken(
    monkeypatch: pytest.MonkeyPatch, *, status: int, again: bool, certain: bool
) -> None:
    link = ApiLink("127.0.0.1", 1, ["key"])
    monkeypatch.setattr(link, "_connection", FakeConnection(status))
    with pytest.raises(NotAccepted) as refused:
        asyncio.run(link.send(0, message("m1", "c1")))
    assert (refused.value.again, refused.value.certain) == (again, certain)
