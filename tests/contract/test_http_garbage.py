"""Whatever a request holds, the answer is a status below 500 and nothing is raised."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import signing
from tests.contract.asgi import Client
from tests.contract.conftest import Tenant
from workers.ingress.routes import ROUTES

SLOWLY = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

PATHS = st.one_of(
    st.sampled_from([route.template for route in ROUTES]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=50).map(lambda text: f"/v1/webhooks/{text}"),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=50).map(
        lambda text: f"/v1/conversations/{text}/messages"
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=50).map(lambda text: f"/{text}"),
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"authorization", b"content-length", b"content-type", b"webhook-id", b"webhook-timestamp", b"x"]),
        st.binary(max_size=30),
    ),
    max_size=6,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "data", "message_id", "conversation_id", "author", "id", "text", "sent_at", "metadata", "action"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)
METHODS = st.sampled_from(["GET", "POST", "HEAD", "PUT"])


@pytest.fixture
def healthy(http: Client) -> Iterator[Client]:
    yield http
    assert http.request("GET", "/livez").status == 200


@SLOWLY
@given(method=METHODS, path=PATHS, headers=HEADERS, body=st.binary(max_size=200))
def test_no_request_is_an_error_of_ours(
    healthy: Client, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    assert healthy.request(method, path, body, raw_headers=headers).status < 500


@SLOWLY
@given(value=JSON | st.builds(lambda data: {"type": "message.created", "data": data}, JSON))
def test_no_signed_json_is_an_error_of_ours(healthy: Client, tenant: Tenant, value: object) -> None:
    body = json.dumps(value).encode()
    for headers, channel in (
        (signing.standard(body, tenant.standard.secret), tenant.standard),
        (signing.github(body, tenant.github.secret, "issues"), tenant.github),
    ):
        assert healthy.request("POST", f"/v1/webhooks/{channel.id}", body, headers).status in (202, 400)
    assert healthy.request("POST", "/v1/messages", body, tenant.bearer).status in (202, 400)
