"""A consumer: claims messages in bulk, hands them to its channel, settles them in bulk, keeps its lease.

Everything happens in `tick`, which the event loop calls before it waits, and in `read`, which it calls when answers are there.
Of claims one is under way at a time; acks, renewals and the rest share its connection and its round trips.
"""

from collections.abc import Sequence
from time import monotonic
from typing import Any

import redis

from shared.broker import calls
from shared.broker.claims import Claims
from shared.broker.delivery import deliver
from shared.broker.fetch import Fetch
from shared.broker.keys import lists_of, queue_of
from shared.broker.lanes import is_single_active
from shared.broker.membership import Membership
from shared.broker.outbox import Outbox
from shared.broker.standing import Standing
from shared.broker.waiting import ANSWER_SECONDS, WATCH_SECONDS, Waiting
from shared.broker.wire import Sending, Wire, ignore
from shared.log import get_logger

log = get_logger(__name__)

LOOK_SECONDS = 0.25
"""How often an idle consumer looks without a hint: a stock producer that writes straight to a lane gives none."""
SWEEP_SECONDS = 1.0
"""How often it looks at the lists of lesser priority, too, and promotes what it did not know to be due."""
WATCH_AGAIN_SECONDS = 0.1
"""After a watched list filled and there was nothing to claim."""
ACK_SECONDS = 0.005
"""How long an ack waits for company."""


class Consumer:
    """See the module. One thread only, that of the channel.

    Args:
        channel: a `channel.Channel`; its options, credit, poller and callbacks are used.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.lanes: int = channel.lanes
        client = channel.connection.client
        broker = f"{client.hostname}:{client.port}/{client.virtual_host}"
        self._member = Membership(Claims(channel._create_client()), channel.lease_seconds, channel.lanes, broker)
        self._fetch = Fetch(channel.qos, channel.claim_bytes)
        self.outbox = Outbox(self._member)
        self._wire: Wire | None = None
        self._waiting: Waiting | None = None
        self._renew_at = self._look_at = self._sweep_at = self._promote_at = 0.0
        self._watch_at = 0.0
        self._delivered = 0
        self._moved = self._changed = self._closing = self._stopping = self._retired = False
        self._unwanted: list[str] = []

    # The event loop

    def tick(self) -> None:
        """Do what is due. Raises redis.ConnectionError: then Celery begins anew, with another channel and consumer id."""
        if self._retired or not (self._changed or self._member.consumer):
            return
        if self._changed:
            self._join()
        wire, waiting = self._links()
        wire.check()
        self.outbox.gathers = self._channel.connection.cycle.loop is not None
        now = monotonic()
        wanted = self._duties(now)
        pause = None if self._closing else self._fetch.pause(now)
        if pause == 0:
            wanted.append((self._fetch.claim(self._member.consumer, now), self._claimed))
        elif pause:
            self._alarm(pause)
        age = self.outbox.ack_age(now)
        if age is not None and (wanted or age >= ACK_SECONDS):
            wanted = self.outbox.take_acks() + wanted  # acks first: the lanes that they free can be claimed
        elif age is not None:
            self._alarm(ACK_SECONDS - age)
        if wanted:
            wire.send(wanted)
        waiting.listen()
        self._note_pending()

    def read(self) -> bool:
        """Handle the answers that are there; whether a message was delivered."""
        before = self._delivered
        if self._wire is not None:
            self._wire.read()
            self._note_pending()
        return self._delivered > before

    def heard(self) -> None:
        """A producer spoke."""
        if self._waiting is not None and self._waiting.heard(self._fetch.names):
            self._fetch.look = True

    def moved(self) -> None:
        """The watched list is no longer empty, or the wait is over."""
        if self._waiting is not None:
            self._moved = self._waiting.moved()
            self._fetch.look |= self._moved
            self._watch_at = monotonic()

    def queues_changed(self) -> None:
        """The channel consumes other queues than before: join at the next tick, or stand down when there are none."""
        self._changed = bool(self._channel.active_queues)
        if self._member.consumer and not self._changed:
            self._stand_down()

    def _duties(self, now: float) -> list[Sending]:
        wanted: list[Sending] = []
        if renewal := self._renewal(now):
            wanted += [*renewal, (calls.reap(self._member.lease_ms), self._reaped)]
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            self._fetch.everywhere = True
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._fetch.look = True
        if now >= self._promote_at:
            self._promote_at = now + SWEEP_SECONDS
            wanted.append((calls.promote(), self._promoted))
        if now >= self._watch_at and not (self._fetch.look or self._fetch.claiming or self._closing):
            self._watch()
        return wanted

    def _renewal(self, now: float) -> list[Sending]:
        if now < self._renew_at:
            return []
        self._renew_at = now + self._member.lease_ms / 3000
        return [(calls.renew(self._member.consumer, self._member.lease_ms), ignore)]

    def progress(self) -> None:
        """One message of a claim was handed over. A callback may run its task (a solo pool does), so that a claim takes the loop
        longer than a lease; that is work and no wedge."""
        self.outbox.send(self._renewal(monotonic()))

    def _claimed(self, answer: calls.Claimed) -> None:
        self._fetch.answered(len(answer.messages))
        if self._closing:
            return self._unwanted.extend(message.token for message in answer.messages)
        if self._member.refresh(answer.epoch):
            self._share()
        if answer.messages:
            self._watch_at = 0.0
        elif self._moved:  # the list is paused, or another's: do not ask again at once
            self._watch_at = monotonic() + WATCH_AGAIN_SECONDS
            self._alarm(WATCH_AGAIN_SECONDS)
        self._moved = False
        return deliver(self, answer)

    def _watch(self) -> None:
        self._watch_at = monotonic() + WATCH_SECONDS + ANSWER_SECONDS + 1  # the answer comes before, or never
        if self._waiting is not None:
            self._waiting.watch(self._fetch.watched())

    def _reaped(self, answer: calls.Reaped) -> None:
        if answer.consumer:
            log.warning(
                "a dead consumer's messages returned", consumer=answer.consumer, returned=answer.returned, left=answer.left
            )
            self.outbox.send([(calls.reap(self._member.lease_ms), self._reaped)])

    def _promoted(self, answer: calls.Promoted) -> None:
        if 0 <= answer.next_ms < SWEEP_SECONDS * 1000:
            self._promote_at = monotonic() + answer.next_ms / 1000
            self._alarm(answer.next_ms / 1000)

    def _alarm(self, seconds: float) -> None:
        self._channel.connection.cycle.alarm(seconds)

    def _note_pending(self) -> None:
        """For kombu's health check of what it takes for a BRPOP."""
        wire = self._wire
        self._channel._in_poll = wire.connection if wire is not None and wire.oldest is not None else None
        self._channel._brpop_sent_at = wire.oldest if wire is not None else None

    # Coming and going

    def _join(self) -> None:
        self._member.release()
        queues = self._channel.active_queues
        working = self._channel.working()
        kept = self._member.join([queue for queue in queues if is_single_active(queue)], working)
        self._channel.qos.adopt({token: working[token] for token in kept})
        self._changed = self._closing = self._stopping = False
        self._share()

    def _share(self) -> None:
        self._fetch.share(self._channel.active_queues, self._member.mine)
        self._watch_at = 0.0  # perhaps another list is to be watched

    def _links(self) -> tuple[Wire, Waiting]:
        channel = self._channel
        if self._wire is None or self._waiting is None:
            cycle = channel.connection.cycle
            if not cycle._client_registered(channel, channel.client, "BRPOP"):
                cycle._register(channel, channel.client, "BRPOP")
            self._member.claims.teach()
            self._wire = self.outbox.wire = Wire(channel.client.connection, channel.socket_timeout)
            self._waiting = Waiting(channel)
        return self._wire, self._waiting

    def _stand_down(self) -> None:
        """Nothing is consumed any more, and perhaps the event loop stops now: give back what is on its way, open the lanes to
        others as their claims are settled, and keep the lease while children finish what they have."""
        self._closing = self._stopping = True
        try:
            self._finish_traffic()
            if not self._channel.qos.sizes:
                return self._member.leave()
            self._member.join([])
        except redis.RedisError as error:
            log.warning("standing down without the broker", error=type(error).__name__)
        return self._member.keep()

    def give_back(self, tokens: Sequence[str]) -> None:
        """Messages to the heads of their queues, in their order, together with those that a claim under way brings: they are
        newer, and returned after these they would stand before them."""
        closing, self._closing = self._closing, True
        try:
            self._finish_traffic(tokens)
        finally:
            self._closing = closing

    def _finish_traffic(self, returning: Sequence[str] = ()) -> None:
        """Settle what is settled, read every answer, give back ``returning`` and what comes too late to be handed over."""
        self.outbox.flush()
        self._read_all()
        unwanted, self._unwanted = self._unwanted, []
        self.outbox.give_back([*returning, *unwanted])
        self._read_all()

    def _read_all(self) -> None:
        if self._wire is not None:
            self._wire.read_all()

    def retire(self) -> None:
        """Settle what is settled, give back the rest, leave. Once. When the link broke, the process's next consumer does it and
        keeps what is still worked on; one that stops makes a new link; if that fails too, the lease does it."""
        if self._retired:
            return
        self._closing = True
        try:
            self._finish_traffic()
            leaves = True
        except redis.RedisError:
            leaves = self._stopping
        self._retired = True
        unsaid, keep = self.outbox.close(), bool(self._channel.working())
        (self._member.leave if leaves and not keep else self._member.bequeath)(unsaid, keep=keep)
        if self._waiting is not None:
            self._waiting.close()

    def closed(self) -> None:
        """The channel has ended its connections."""
        self._member.closed()

    def standing(self) -> Standing:
        """What it should be doing, for whoever judges whether it does."""
        held = frozenset(map(queue_of, list(self._channel.qos.sizes)))
        return Standing(self._member.consumer, self._fetch.queues, held, self._fetch.has_room())

    # Deliveries

    def consumes(self, queue: str) -> bool:
        """False when the queue was cancelled, perhaps since its messages were claimed."""
        return queue in self._channel.connection._callbacks

    def hand_over(self, queue: str, envelope: dict[str, Any], token: str, size: int) -> None:
        """Deliver to the queue's callback."""
        self._channel.qos.sizes[token] = size
        self._channel.connection._deliver(envelope, queue)
        self._delivered += 1
        if queue in self._channel.no_ack_queues:
            self._channel.qos.forget(token)
            self.outbox.settle(token)

    @property
    def receives_raw(self) -> bool:
        """Somebody takes lanes' messages undecoded."""
        return self._channel.receiver is not None

    def hand_over_raw(self, queue: str, message: calls.Claim, refused: str = "") -> None:
        """Deliver to the channel's receiver."""
        self._channel.qos.sizes[message.token] = len(message.payload)
        self._channel.qos.append(message, message.token)
        self._delivered += 1
        self._channel.receiver(self._channel, queue, message, refused)

    def take_one(self, queue: str) -> calls.Claim | None:
        """One message at once, for ``basic_get``."""
        return self._member.take_one([(name, is_single_active(queue)) for name in lists_of(queue)])
