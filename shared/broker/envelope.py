"""Reading a queue's payload: an ordinary Celery message in kombu's Redis format, or bytes that somebody put there."""

# Kombu is typed in part.
# mypy: disable-error-code="no-untyped-call"

from datetime import UTC, datetime
from typing import Any

import orjson
from kombu.utils.json import loads


class Undecodable(ValueError):
    """The payload is not a message. Its text says why, without any of the content."""


def decode(payload: bytes) -> dict[str, Any]:
    """The envelope, with a ``delivery_info``. Raises Undecodable."""
    try:
        # Kombu marks dates and such in headers; its own reader makes them again.
        envelope = loads(payload.decode()) if b'"__type__"' in payload else orjson.loads(payload)
    except (ValueError, RecursionError):
        envelope = _decode_leniently(payload)
    if not isinstance(envelope, dict) or not isinstance(envelope.get("properties"), dict):
        raise Undecodable("it is no Celery message")
    properties = envelope["properties"]
    if not isinstance(properties.get("delivery_info"), dict):
        properties["delivery_info"] = {}
    return envelope


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
