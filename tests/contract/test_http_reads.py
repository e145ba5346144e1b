"""The account's own reads, over rows stored for real."""

from urllib.parse import quote

import pytest

from shared.db.session import transact
from shared.store.messages import Arrival, store
from tests.contract.asgi import Client, Reply
from tests.contract.conftest import Tenant
from tests.factory import message, new_account


def fill(account_id: str, conversation_id: str, size: int) -> None:
    arrivals = [Arrival(account_id, message(f"{conversation_id}-{n}", conversation_id), None) for n in range(size)]
    transact(lambda session: store(session, arrivals))


def get(http: Client, tenant: Tenant, path: str) -> Reply:
    return http.request("GET", path, headers=tenant.bearer)


def test_conversations_come_page_by_page_the_newest_first(http: Client, tenant: Tenant) -> None:
    for number in range(5):
        fill(tenant.account_id, f"c-{number}", number + 1)
    fill(new_account(), "another's", 1)
    seen, cursor = [], ""
    while True:
        page = get(http, tenant, f"/v1/conversations?limit=2{cursor}").json
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [(it["conversation_id"], it["message_count"]) for it in seen] == [(f"c-{n}", n + 1) for n in (4, 3, 2, 1, 0)]
    assert seen[0]["last_message_at"].endswith("Z")


@pytest.mark.parametrize("name", ["c-1", "octo/hello#7", "a b?c&d%2F", "Grüße/\N{DROPLET}", "..", "+"])
def test_a_conversations_messages_come_in_order_under_any_name(http: Client, tenant: Tenant, name: str) -> None:
    fill(tenant.account_id, name, 7)
    path = f"/v1/conversations/{quote(name, safe='')}/messages"
    first = get(http, tenant, f"{path}?limit=4").json
    rest = get(http, tenant, f"{path}?limit=4&cursor={first['next_cursor']}").json
    assert [it["sequence"] for it in first["items"] + rest["items"]] == list(range(1, 8))
    assert rest["next_cursor"] is None
    assert set(first["items"][0]) == {"message_id", "sequence", "author", "text", "sent_at", "received_at"}


@pytest.mark.parametrize("name", ["unknown", "", "%00", "%FF", "x" * 300, "a/b"])
def test_an_unknown_conversation_is_a_404(http: Client, tenant: Tenant, name: str) -> None:
    assert get(http, tenant, f"/v1/conversations/{name}/messages").status == 404


def test_another_accounts_conversation_is_a_404(http: Client, tenant: Tenant) -> None:
    fill(new_account(), "c-1", 1)
    assert get(http, tenant, "/v1/conversations/c-1/messages").status == 404


def test_stats_count_everything_of_this_account(http: Client, tenant: Tenant) -> None:
    fill(tenant.account_id, "c-1", 3)
    fill(tenant.account_id, "c-2", 2)
    fill(new_account(), "c-1", 9)
    nothing = {"pending": 0, "sent": 0, "failed": 0}
    expected = {"messages": 5, "conversations": 2, "replies": 0, "deliveries": nothing, "dead_letters": 0}
    assert get(http, tenant, "/v1/stats").json == expected


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=201", "limit=", "limit=ten", "limit=-1", "limit=1.5", "limit=%31%00", "limit=" + "9" * 5000),
        *("cursor=x", "cursor=-1", "cursor=9223372036854775808", "cursor=%D9%A1", "&".join(["a=1"] * 100)),
    ],
)
def test_a_bad_limit_or_cursor_is_a_400(http: Client, tenant: Tenant, query: str) -> None:
    assert get(http, tenant, f"/v1/conversations?{query}").status == 400
    assert get(http, tenant, f"/v1/conversations/c/messages?{query}").status == 400


def test_the_largest_page_has_200(http: Client, tenant: Tenant) -> None:
    fill(tenant.account_id, "c-1", 201)
    assert len(get(http, tenant, "/v1/conversations/c-1/messages?limit=200").json["items"]) == 200
    assert len(get(http, tenant, "/v1/conversations/c-1/messages").json["items"]) == 50


@pytest.mark.parametrize("path", ["/v1/conversations", "/v1/conversations/c/messages", "/v1/stats"])
def test_a_read_without_a_key_is_a_401(http: Client, path: str) -> None:
    assert http.request("GET", path).status == 401
