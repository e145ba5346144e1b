"""HAProxy's configuration: what it says when nobody is ready, what it keeps from outside. Kills: tests/chaos."""

import http.client
import json
import os
import subprocess
from pathlib import Path

from tests.haproxy import CONFIGURATION, HAPROXY, environment, haproxy, needs_haproxy

pytestmark = needs_haproxy

NOBODY = ("127.0.0.1:1", "127.0.0.1:2")


def asked(port: int, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    assert HAPROXY
    given = {**os.environ, **environment(tmp_path, 20_000, NOBODY)}
    found = subprocess.run(
        [HAPROXY, "-c", "-f", CONFIGURATION], env=given, capture_output=True, text=True, check=False, timeout=30
    )
    assert found.returncode == 0, found.stderr
    assert "warning" not in (found.stdout + found.stderr).lower()


def test_nobody_ready_is_a_503_that_says_when_to_come_again_and_metrics_are_not_for_outside() -> None:
    with haproxy(*NOBODY, ready=False) as edge:
        status, headers, body = asked(edge.port, "/v1/stats")
        assert status == 503
        assert headers["content-type"] == "application/problem+json"
        assert int(headers["retry-after"]) > 0
        assert json.loads(body)["status"] == 503
        assert asked(edge.port, "/metrics")[0] == 404
