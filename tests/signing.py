"""Signatures as providers make them, written from their documents and not from our verifier."""

import base64
import hashlib
import hmac
import time


def standard(body: bytes, secret: str, *, webhook_id: str = "msg_1", at: float | None = None) -> dict[str, str]:
    """Standard Webhooks' three headers; ``at``: wall-clock seconds, default now."""
    timestamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {"webhook-id": webhook_id, "webhook-timestamp": timestamp, "webhook-signature": signature}


def github(body: bytes, secret: str, event: str) -> dict[str, str]:
    """GitHub's headers for an event."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-github-event": event, "x-hub-signature-256": f"sha256={digest}", "x-github-delivery": "1"}
