"""The account's own reads: conversations, a conversation's messages, counts. Pages end with a cursor, opaque to clients."""

from shared.store import conversations
from workers.ingress.answer import Answer, Refused, json
from workers.ingress.edge import Edge
from workers.ingress.request import Request

PAGE_DEFAULT = 50
KEY_LENGTH_MAX = 255
CURSOR_MAX = 2**63 - 1


async def list_conversations(edge: Edge, request: Request) -> Answer:
    """``GET /v1/conversations``, the newest first."""
    account_id = await edge.account_id(request)
    limit, before = _limit(request), _cursor(request)
    page = await edge.read(lambda session: conversations.newest(session, account_id, limit=limit, before=before))
    return _page(page)


async def list_messages(edge: Edge, request: Request) -> Answer:
    """``GET /v1/conversations/{conversation_id}/messages``, in order."""
    account_id = await edge.account_id(request)
    limit, after = _limit(request), _cursor(request) or 0
    name = request.parameter
    page = None
    if 0 < len(name) <= KEY_LENGTH_MAX and "\0" not in name:
        page = await edge.read(lambda session: conversations.messages(session, account_id, name, limit=limit, after=after))
    if page is None:
        raise Refused(404, "there is no such conversation")
    return _page(page)


async def stats(edge: Edge, request: Request) -> Answer:
    """``GET /v1/stats``, of the primary: a sender compares it with what it sent, and a count that goes back looks like a loss."""
    account_id = await edge.account_id(request)
    return json(200, await edge.read(lambda session: conversations.stats(session, account_id), fresh=True))


def _page(page: conversations.Page) -> Answer:
    cursor = None if page.next_cursor is None else str(page.next_cursor)
    return json(200, {"items": page.items, "next_cursor": cursor})


def _limit(request: Request) -> int:
    limit = _whole_number(request, "limit")
    if limit is None:
        return PAGE_DEFAULT
    if not 1 <= limit <= conversations.PAGE_MAX:
        raise Refused(400, f"limit is a number from 1 to {conversations.PAGE_MAX}")
    return limit


def _cursor(request: Request) -> int | None:
    cursor = _whole_number(request, "cursor")
    if cursor is not None and cursor > CURSOR_MAX:
        raise Refused(400, "cursor is not one that was handed out")
    return cursor


def _whole_number(request: Request, name: str) -> int | None:
    text = request.query(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise Refused(400, f"{name} is not one that was handed out" if name == "cursor" else f"{name} is not a number")
    return int(text)
