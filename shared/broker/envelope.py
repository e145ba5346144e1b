"""Reading a queue's payload: an ordinary Celery message in kombu's Redis format, or bytes that somebody put there."""

# Kombu is typed in part.
# mypy: disable-error-code="no-untyped-call"

from base64 import b64decode
from datetime import UTC, datetime
from typing import Any

import orjson
from kombu.utils.json import loads


class Undecodable(ValueError):
    """The payload is not a message. Its text says why, without any of the content."""


def decode(payload: bytes) -> dict[str, Any]:
    """The envelope, such that Celery's parent process cannot stumble over it: headers, properties and ``delivery_info`` are
    there, the body is decoded. Raises Undecodable."""
    try:
        # Kombu marks dates and such in headers; its own reader makes them again.
        envelope = loads(payload.decode()) if b'"__type__"' in payload else orjson.loads(payload)
    except (ValueError, RecursionError):
        envelope = _decode_leniently(payload)
    if not isinstance(envelope, dict) or not isinstance(envelope.get("properties"), dict):
        raise Undecodable("it is no Celery message")
    headers, properties = envelope.setdefault("headers", {}), envelope["properties"]
    if not isinstance(headers, dict) or not all(isinstance(headers.get(name, ""), str) for name in ("task", "id")):
        raise Undecodable("its headers are no Celery message's")
    if "task" in headers and "id" not in headers:
        raise Undecodable("its task has no id")
    if not isinstance(properties.get("delivery_info"), dict):
        properties["delivery_info"] = {}
    _decode_body(envelope, properties)
    return envelope


def _decode_body(envelope: dict[str, Any], properties: dict[str, Any]) -> None:
    body, encoding = envelope.get("body"), properties.pop("body_encoding", None)
    if not isinstance(body, str) or encoding not in (None, "", "utf-8", "base64"):
        raise Undecodable("its body is no Celery message's")
    if not all(isinstance(envelope.get(name), str) for name in ("content-type", "content-encoding")):
        raise Undecodable("its content type is missing")
    if encoding == "base64":
        try:
            envelope["body"] = b64decode(body)
        except ValueError:
            raise Undecodable("its body is no base64") from None


def _decode_leniently(payload: bytes) -> Any:
    """The standard library reads what orjson refuses and Python clients write: NaN, numbers beyond 64 bits."""
    try:
        return loads(payload.decode())
    except (ValueError, RecursionError):
        raise Undecodable("it is no JSON") from None
    except Exception:  # noqa: BLE001  (kombu's object hook runs whatever decoder a `__type__` names)
        raise Undecodable("it is no JSON that can be read") from None


def due_ms(envelope: dict[str, Any]) -> int | None:
    """When a message with ``countdown`` or ``eta`` is due, in milliseconds since the epoch; None for one without."""
    headers = envelope.get("headers")
    eta = headers.get("eta") if isinstance(headers, dict) else None
    if not eta:
        return None
    try:
        moment = eta if isinstance(eta, datetime) else datetime.fromisoformat(eta)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError):
        return None  # Celery's worker judges it
