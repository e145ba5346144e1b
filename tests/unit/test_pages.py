"""Pages for probes and scrapes: always an answer, and nothing on standard error that is no line of the log."""

import socket
import struct
from collections.abc import Iterator

import pytest
import structlog

from tests.foreground import status
from tests.waiting import eventually
from workers.pages import Page, Pages, verdict

HARD_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER: a reset instead of a farewell."""


def broken() -> Page:
    raise ValueError("what a metric's file held")


@pytest.fixture
def pages() -> Iterator[Pages]:
    it = Pages("127.0.0.1", 0, {"/livez": lambda: verdict(""), "/metrics": broken}, "HEADRACE_HEALTH_PORT")
    yield it
    it.close()


def test_a_page_that_cannot_be_made_is_an_answer_and_one_line_of_the_log(pages: Pages, capfd: pytest.CaptureFixture[str]) -> None:
    with structlog.testing.capture_logs() as lines:
        assert status(f"http://127.0.0.1:{pages.port}/metrics") == 500
        assert status(f"http://127.0.0.1:{pages.port}/livez") == 200
        assert status(f"http://127.0.0.1:{pages.port}/nothing") == 404
    assert [(line["event"], line["path"]) for line in lines] == [("page failed", "/metrics")]
    assert capfd.readouterr().err == ""


def test_a_client_that_goes_away_leaves_no_traceback(pages: Pages, capfd: pytest.CaptureFixture[str]) -> None:
    with structlog.testing.capture_logs() as lines:
        with socket.create_connection(("127.0.0.1", pages.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HARD_CLOSE)
            client.sendall(b"GET /livez HTTP/1.1\r\n")
        eventually("it was noticed", lambda: [line["event"] for line in lines] == ["a client went away"])
    assert capfd.readouterr().err == ""
