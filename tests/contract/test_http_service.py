"""Paths, methods, health, metrics and the description of the surface."""

import re
from typing import Any

import pytest

from tests.contract.asgi import Client
from workers.ingress.routes import ROUTES

PLAIN_GETS = ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs"]


@pytest.mark.parametrize("path", PLAIN_GETS)
def test_what_can_be_got_can_be_asked_for_its_head(http: Client, path: str) -> None:
    got, head = http.request("GET", path), http.request("HEAD", path)
    assert (got.status, head.status, head.body) == (200, 200, b"")
    assert int(got.headers["content-length"]) == len(got.body)
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize(("path", "allowed"), [("/v1/messages", "POST"), ("/v1/webhooks/x", "POST"), ("/livez", "GET, HEAD")])
def test_another_method_is_a_405_that_names_the_right_ones(http: Client, path: str, allowed: str) -> None:
    for method in ("DELETE", "PUT", "OPTIONS", "NONSENSE"):
        reply = http.request(method, path)
        assert (reply.status, reply.headers["allow"]) == (405, allowed)
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/", "", "/v1", "/v1/messages/", "//v1/messages", "/livez%2F", "/v1/conversations/a/b/messages"]
)
def test_another_path_is_a_404(http: Client, path: str) -> None:
    reply = http.request("GET", path)
    assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json")


def test_requests_are_timed_by_route_and_status_and_not_by_path(http: Client) -> None:
    http.request("GET", "/made/up/path")
    http.request("POST", "/v1/webhooks/made-up")
    text = http.request("GET", "/metrics").body.decode()
    assert re.search(r'headrace_ingress_request_seconds_count\{route="unmatched",status="404"\} [1-9]', text)
    assert re.search(r'headrace_ingress_request_seconds_count\{route="/v1/webhooks/\{channel_id\}",status="404"\} [1-9]', text)
    assert "made" not in text


def test_the_docs_need_nothing_from_elsewhere(http: Client) -> None:
    page = http.request("GET", "/docs").body.decode()
    assert not re.search(r"https?://|<script|src=", page)
    assert all(route.template in page for route in ROUTES)


def test_every_route_is_described_and_nothing_else(http: Client) -> None:
    document = http.request("GET", "/openapi.json").json
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.template) for route in ROUTES}
    assert document["openapi"].startswith("3.1.")


def test_the_description_holds_together(http: Client) -> None:
    document = http.request("GET", "/openapi.json").json
    for reference in _references(document):
        target = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
    identifiers = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(set(identifiers)) == len(identifiers)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"]
            assert all(_resolved(document, answer)["description"] for answer in operation["responses"].values())
            given = [_resolved(document, parameter) for parameter in operation.get("parameters", [])]
            assert {it["name"] for it in given if it["in"] == "path"} == set(re.findall(r"{(\w+)}", path))
    for name, schema in document["components"]["schemas"].items():
        assert set(schema.get("required", [])) <= set(schema["properties"]), name


def _resolved(document: dict[str, Any], thing: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in thing:
        return thing
    _, section, kind, name = thing["$ref"].split("/")
    found: dict[str, Any] = document[section][kind][name]
    return found


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [it for child in value.values() for it in _references(child)]
    return [it for child in value for it in _references(child)] if isinstance(value, list) else []
