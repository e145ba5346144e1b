"""``POST /v1/webhooks/{channel_id}``: a provider's call, verified, made durable raw, and acknowledged.

The cheapest checks come first and a stranger gets no further than he must: the declared size, the channel, the body, its
signature, its shape. Only then is it published, and only the broker's confirmation is answered with 202.
"""

import msgspec
from uuid_utils import uuid4

from shared.clock import wall_seconds
from shared.envelope import envelope
from shared.errors import InvalidMessage, InvalidSignature
from shared.metrics import MESSAGES
from shared.topology import STORE_WEBHOOKS, WEBHOOKS, lane_of
from shared.webhook import BODY_BYTES_MAX, QueuedWebhook, encode_webhook
from tasks.sources.registry import SOURCES
from workers.ingress.answer import Answer, Refused, json
from workers.ingress.edge import Edge
from workers.ingress.request import Request

NOT_HANDLED = MESSAGES.labels(WEBHOOKS, "discarded")
"""Events that hold no message count as the ones that a worker discards."""


async def take(edge: Edge, request: Request) -> Answer:
    """Take one webhook. The answer's id is the task's, under which a dead letter would be found."""
    request.refuse_larger(BODY_BYTES_MAX)
    channel = await edge.channel(request.parameter)
    source = SOURCES[channel.source]
    body = await request.body(BODY_BYTES_MAX)
    accepted_at = wall_seconds()
    webhook_id = str(uuid4())
    try:
        source.verify(request.headers, body, channel.secrets, accepted_at)
        peek = source.peek(request.headers, body)
        if not peek.handled:
            NOT_HANDLED.inc()
            return json(202, {"id": webhook_id})
        webhook = QueuedWebhook(channel.account_id, channel.id, channel.source, peek.event, msgspec.Raw(body))
        argument = encode_webhook(webhook)
    except InvalidSignature as error:
        raise Refused(401, str(error), (b"www-authenticate", b"Signature")) from None
    except InvalidMessage as error:
        fault = {"index": 0, "field": error.field, "reason": error.reason}
        raise Refused(400, "the webhook is not valid", errors=[fault]) from None
    lane = lane_of(channel.account_id, peek.order_key or channel.id, edge.lanes)
    message = envelope(STORE_WEBHOOKS, argument, lane=lane, accepted_at=accepted_at, via="webhook", task_id=webhook_id)
    with edge.quota.room(channel.account_id, 1):
        await edge.publish(channel.account_id, (message,))
    return json(202, {"id": webhook_id})
