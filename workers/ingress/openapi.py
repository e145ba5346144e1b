"""The OpenAPI 3.1 document, by hand: limits come from where they are enforced, routes are checked against it by a test."""

from importlib.metadata import version
from typing import Any

from shared import webhook
from shared.message import MESSAGES_A_REQUEST_MAX, METADATA_BYTES_MAX, TEXT_BYTES_MAX
from shared.store.conversations import PAGE_MAX
from workers.ingress.messages import BODY_BYTES_MAX
from workers.ingress.reads import PAGE_DEFAULT

Schema = dict[str, Any]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _object(required: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": required.split(), "properties": properties}


def _page(item: str) -> Schema:
    return _object("items next_cursor", items={"type": "array", "items": _ref(item)}, next_cursor={"type": ["string", "null"]})


def _problem(description: str, **headers: str) -> Schema:
    answer: Schema = {"description": description, "content": {"application/problem+json": {"schema": _ref("Problem")}}}
    if headers:
        described = {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}
        answer["headers"] = {name.replace("_", "-"): header for name, header in described.items()}
    return answer


def _operation(identifier: str, summary: str, answer: Schema, *, status: str = "200", problems: str = "", **more: Any) -> Schema:
    refused = {code: {"$ref": f"#/components/responses/{code}"} for code in problems.split()}
    success = {"description": "As described.", "content": _json(answer)}
    return {"operationId": identifier, "summary": summary, "responses": {status: success, **refused}, **more}


def _read(identifier: str, summary: str, answer: Schema, problems: str, *parameters: str) -> Schema:
    references = [{"$ref": f"#/components/parameters/{name}"} for name in parameters]
    return _operation(identifier, summary, answer, problems=problems, security=[{"bearer": []}], parameters=references)


KEY: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
INSTANT: Schema = {"type": "string", "format": "date-time", "description": "RFC 3339 with offset"}

SCHEMAS: Schema = {
    "Author": _object("id", id=KEY, name={"type": ["string", "null"], "maxLength": 255}),
    "Message": _object(
        "message_id conversation_id author text sent_at",
        message_id=KEY | {"description": "Unique within the account; a known id has no effect, so repeating is safe."},
        conversation_id=KEY | {"description": "Messages of one conversation keep their order."},
        author=_ref("Author"),
        text=TEXT | {"maxLength": TEXT_BYTES_MAX, "description": f"Up to {TEXT_BYTES_MAX} bytes in UTF-8, without U+0000."},
        sent_at=INSTANT,
        metadata={"type": "object", "description": f"Up to {METADATA_BYTES_MAX} bytes as JSON."},
    ),
    "Conversation": _object(
        "id conversation_id message_count last_message_at",
        id=TEXT,
        conversation_id=TEXT,
        message_count=COUNT,
        last_message_at={"type": ["string", "null"], "format": "date-time"},
    ),
    "StoredMessage": _object(
        "message_id sequence author text sent_at received_at",
        message_id=TEXT,
        sequence={"type": "integer", "minimum": 1, "description": "Counts within the conversation, without gaps."},
        author=_ref("Author"),
        text=TEXT,
        sent_at=INSTANT,
        received_at=INSTANT,
    ),
    "Stats": _object(
        "messages conversations replies deliveries dead_letters",
        messages=COUNT,
        conversations=COUNT,
        replies=COUNT,
        deliveries=_object("pending sent failed", pending=COUNT, sent=COUNT, failed=COUNT),
        dead_letters=COUNT,
    ),
    "Fault": _object("index field reason", index=COUNT, field=TEXT, reason=TEXT),
    "Problem": _object(
        "type title status detail",
        type=TEXT,
        title=TEXT,
        status={"type": "integer"},
        detail=TEXT,
        errors={"type": "array", "maxItems": 100, "items": _ref("Fault"), "description": "With a 400: every fault found."},
        missing={"type": "array", "items": TEXT, "description": "With /readyz: what does not answer."},
    ),
}

RESPONSES: Schema = {
    "400": _problem("Not valid; `errors` names each fault where there are several. Nothing was taken."),
    "401": _problem("No valid key or signature, or a time stamp outside the window.", WWW_Authenticate="The scheme."),
    "404": _problem("There is no such thing."),
    "405": _problem("This path takes other methods.", Allow="Those it takes."),
    "408": _problem("The body came too slowly."),
    "413": _problem("The body is too large."),
    "429": _problem(
        "Too many messages of the account wait. Nothing was taken; repeat the whole request.", Retry_After="Seconds, 1 to 30."
    ),
    "500": _problem("A fault of ours; repeating is safe."),
    "503": _problem("Overloaded, or a dependency is down; repeat the whole request, which is safe.", Retry_After="Seconds."),
}

PARAMETERS: Schema = {
    "limit": {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT},
    },
    "cursor": {"name": "cursor", "in": "query", "description": "`next_cursor` of the last page; opaque.", "schema": TEXT},
    "channel_id": {"name": "channel_id", "in": "path", "required": True, "schema": TEXT},
    "conversation_id": {
        "name": "conversation_id",
        "in": "path",
        "required": True,
        "description": "The sender's own, URL-encoded; a slash is %2F.",
        "schema": TEXT,
    },
}

MESSAGES: Schema = {"type": "array", "maxItems": MESSAGES_A_REQUEST_MAX, "items": _ref("Message")}

PATHS: Schema = {
    "/v1/webhooks/{channel_id}": {
        "post": _operation(
            "takeWebhook",
            "A provider's webhook",
            _object("id", id=TEXT | {"description": "Its id in the queue, and in the dead letters should it fail."}),
            status="202",
            problems="400 401 404 405 408 413 429 500 503",
            description=f"The raw body, up to {webhook.BODY_BYTES_MAX} bytes, signed as the channel's source does. Answered once"
            " the webhook is durable. An event type that is not handled is acknowledged, counted, and not queued.",
            parameters=[{"$ref": "#/components/parameters/channel_id"}],
            requestBody={"required": True, "content": _json({"type": "object"})},
        )
    },
    "/v1/messages": {
        "post": _operation(
            "takeMessages",
            "One message or an array of them",
            _object("accepted", accepted=COUNT),
            status="202",
            problems="400 401 405 408 413 429 500 503",
            description=f"Up to {MESSAGES_A_REQUEST_MAX} messages and {BODY_BYTES_MAX} bytes. All are durable, or none was taken;"
            " only after a 503 a part may have been: repeat the whole.",
            security=[{"bearer": []}],
            requestBody={"required": True, "content": _json({"oneOf": [_ref("Message"), MESSAGES]})},
        )
    },
    "/v1/conversations": {
        "get": _read(
            "listConversations", "Conversations, the newest first", _page("Conversation"), "400 401 503", "limit", "cursor"
        )
    },
    "/v1/conversations/{conversation_id}/messages": {
        "get": _read(
            "listMessages",
            "A conversation's messages, in order",
            _page("StoredMessage"),
            "400 401 404 503",
            "conversation_id",
            "limit",
            "cursor",
        )
    },
    "/v1/stats": {"get": _read("readStats", "Counts of everything ever stored for the account", _ref("Stats"), "401 503")},
    "/livez": {"get": _operation("live", "The process turns", _object("alive", alive={"const": True}))},
    "/readyz": {
        "get": _operation("ready", "Broker and database answer", _object("ready", ready={"const": True}), problems="503")
    },
    "/metrics": {
        "get": {
            "operationId": "metrics",
            "summary": "Prometheus metrics",
            "responses": {"200": {"description": "Text exposition.", "content": {"text/plain": {"schema": TEXT}}}},
        }
    },
    "/openapi.json": {"get": _operation("openapi", "This document", {"type": "object"})},
    "/docs": {
        "get": {
            "operationId": "docs",
            "summary": "This document, for people",
            "responses": {"200": {"description": "HTML.", "content": {"text/html": {"schema": TEXT}}}},
        }
    },
}

DOCUMENT: Schema = {
    "openapi": "3.1.0",
    "info": {
        "title": "Headrace",
        "version": version("headrace"),
        "description": "Takes webhooks and messages, loses none, keeps each conversation in order. Errors are RFC 9457 problems.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    },
    "servers": [{"url": "/"}],
    "paths": PATHS,
    "components": {
        "schemas": SCHEMAS,
        "responses": RESPONSES,
        "parameters": PARAMETERS,
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "The account's API key."}},
    },
}
