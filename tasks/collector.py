"""The parent's side of batch tasks: collect messages, give each pool slot a batch, settle what comes back.

The channel hands over a lane's messages undecoded (`receive`); of other queues, Celery hands every message of a batch task to
`strategy` before a request is built. A slot flushes as soon as it is idle, so a batch is what arrived while the last one ran:
small when there is little, full under load. Everything runs on the worker's event loop, in one thread.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from celery import bootsteps
from celery.worker import state
from celery.worker.consumer.tasks import Tasks

from shared.broker.calls import Claim
from shared.broker.lanes import is_single_active
from shared.clock import monotonic_seconds, wall_seconds
from shared.log import get_logger
from shared.metrics import REDELIVERIES
from shared.outcome import Retry
from shared.settings import settings
from shared.topology import LANED
from tasks import arrival, measure
from tasks.batch import Failed, Settled, run
from tasks.fault import describe
from tasks.flight import Flight
from tasks.pins import Pins
from tasks.slot import Pending, Slot

log = get_logger(__name__)


class Collector:
    """The slots of one worker. Lives as long as the worker; `stop` is called at a shutdown and whenever the connection is lost.

    Args:
        consumer: Celery's consumer, for its pool, timer and event dispatcher.
    """

    def __init__(self, consumer: Any) -> None:
        config = settings()
        self._consumer = consumer
        self._timeout = config.batch_timeout_seconds
        self._messages_max = config.batch_messages_max
        self._slots = [
            Slot(
                messages_max=config.batch_messages_max,
                bytes_max=config.batch_bytes_max,
                attempts_max=config.batch_attempts_max,
                worker=consumer.hostname,
            )
            for _ in range(config.worker_children)
        ]
        self._pins = Pins(self._slots)
        self._flights: dict[int, Flight] = {}  # by slot number
        measure.begin([*LANED, *config.own_queues])
        self._stopped = False
        self._flush_due = False
        self._wake_at = 0.0  # when the next planned flush comes; one timer, however many messages wait
        self.between_batches: Callable[[], None] = lambda: None
        """Called before batches start, when an idle child is one that no batch is on its way to."""

    def receive(self, channel: Any, queue: str, claim: Claim, verdict: str = "") -> None:
        """Take one message in; it runs when its slot is free. With ``verdict`` it is buried for that reason instead."""
        pending = arrival.pending(channel, queue, claim, verdict, self._messages_max)
        if pending.suspect:
            REDELIVERIES.labels(pending.kind).inc()
        self._pins.pin(queue).add(pending)
        self._flush_soon()

    def collect(self, message: Any, *, verdict: str = "") -> None:
        """The same for a message that came through kombu."""
        delivery = message.delivery_info
        self.receive(message.channel, delivery["queue"], delivery["claim"], delivery["refused"] or verdict)

    def start(self) -> None:
        """A connection is there: from now on its channel's messages come here."""
        self._stopped = False
        channel = self._consumer.task_consumer.channel
        channel.receiver, channel.working = self.receive, self.working
        for flight in self._flights.values():
            for pending in flight.members:
                pending.channel = channel  # which holds it once it has joined, if the lease stood until then

    def working(self) -> dict[str, int]:
        """What children run, for the channel: token -> bytes of payload."""
        flights = (flight for flight in self._flights.values() if flight.with_child)
        return {pending.token: len(pending.payload) for flight in flights for pending in flight.members}

    def stop(self) -> None:
        """Hand back what waits. What a child runs is settled as it finishes: with the next connection when this one is gone; at a
        shutdown with this one, or it is handed back with the channel."""
        self._stopped = True
        waiting = [pending for slot in self._slots for pending in slot.clear()]
        self._release(waiting)
        if self._consumer.connection is not None:
            if self._consumer.task_consumer:
                self._consumer.task_consumer.channel.working = dict
            if waiting:
                waiting[0].channel.give_back([pending.token for pending in waiting])
            return
        for number, flight in list(self._flights.items()):
            if not flight.with_child:  # Celery's pool has just forgotten it
                flight.crash("connection lost")
                flight.slot.running = False
                self._release(flight.members)
                del self._flights[number]

    def _release(self, members: Sequence[Pending]) -> None:
        for pending in members:
            self._pins.release(pending.queue)

    def _flush_soon(self) -> None:
        """At the end of this turn of the loop, so that what arrives in one turn goes in one batch."""
        if not self._flush_due:
            self._flush_due = True
            self._consumer.hub.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._stopped:
            return
        self.between_batches()
        if state.should_stop is not None:  # the loop ends in a moment, and what waits goes back
            return
        now = monotonic_seconds()
        for number, slot in enumerate(self._slots):
            if batch := slot.next_batch(now):
                self._start(number, slot, batch)
            elif (wake := slot.wake_at(now)) is not None and not now < self._wake_at <= wake:
                self._wake_at = wake
                self._consumer.timer.call_after(max(0.01, wake - now), self._flush_soon)

    def _start(self, number: int, slot: Slot, batch: list[Pending]) -> None:
        flight = Flight(batch, slot, self._consumer.hostname, self._consumer.event_dispatcher)

        def landed(answer: Settled | Failed | None, lost: str = "") -> None:
            self._flights.pop(number, None)
            self._land(flight, answer, lost)

        if len(batch) == 1 and batch[0].suspect:
            batch[0].channel.mark_alone([batch[0].token])
        self._flights[number] = flight
        flight.take_off()
        job = self._consumer.pool.apply_async(
            run,
            ([pending.wire() for pending in batch], self._consumer.hostname, flight.id),
            callback=landed,
            error_callback=lambda failure: landed(None, describe(failure.exception)),
            accept_callback=flight.on_accepted,
            timeout_callback=_log_timeout,
            timeout=self._timeout,
            correlation_id=flight.id,
        )
        flight.follow(job)

    def _land(self, flight: Flight, answer: Settled | Failed | None, lost: str) -> None:
        slot, now = flight.slot, monotonic_seconds()
        batch = [pending for pending in flight.members if pending.channel.holds(pending.token)]
        self._release([pending for pending in flight.members if not pending.channel.holds(pending.token)])
        if isinstance(answer, Settled):
            slot.settled()
            counts = self._settle(flight, answer, now) if batch else Counter()
            flight.land(counts, answer.seconds)
        else:
            reason = answer.reason if answer else lost
            flight.crash(reason)
            if not batch:  # its claims were lost with the lease
                slot.running = False
            elif answer and answer.outage:
                pause = slot.outage(batch, now)
                log.warning("dependency out, batch waits", **flight.ids(), pause=pause, reason=reason)
            else:
                slot.failed(batch, reason, now, wall_seconds(), lost=answer is None)
                log.warning("batch failed, halved", **flight.ids(), reason=reason)
        self._flush_soon()

    def _settle(self, flight: Flight, answer: Settled, now: float) -> Counter[str]:
        retries, delayed, done = [], [], []
        for pending, outcome in zip(flight.members, answer.outcomes, strict=True):
            if not pending.channel.holds(pending.token):
                continue
            if isinstance(outcome, Retry) and is_single_active(pending.queue):
                retries.append((pending, outcome))
                continue
            self._pins.release(pending.queue)
            if isinstance(outcome, Retry):
                delayed.append((pending, outcome))
            else:
                done.append(pending.token)
        try:
            flight.members[0].channel.settle(done)
            for pending, outcome in delayed:
                pending.channel.delay(pending.token, outcome.after)
        except self._consumer.connection_errors as error:  # the event loop meets it next, begins anew, and says it again
            log.warning("batch settled without the broker", **flight.ids(), error=type(error).__name__)
        if retries:
            flight.slot.retried(retries, now, wall_seconds())
        counts = measure.settled(flight.kind, answer.outcomes, answer.seconds)
        log.info("batch settled", **flight.ids(), seconds=round(answer.seconds, 4), **counts, **_named(answer.trace_id))
        return counts


def _named(trace_id: str | None) -> dict[str, str]:
    return {"trace_id": trace_id} if trace_id else {}


def _log_timeout(*, soft: bool, timeout: float) -> None:
    log.error("batch out of time, its child is killed", timeout_seconds=timeout)


class CollectorStep(bootsteps.StartStopStep):
    """Gives Celery's consumer its collector, and empties it whenever the consumer stops or reconnects."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        consumer.collector = Collector(consumer)

    def start(self, consumer: Any) -> None:
        """The connection is there."""
        consumer.collector.start()

    def stop(self, consumer: Any) -> None:
        """The connection is going, or the worker."""
        consumer.collector.stop()


def strategy(task: Any, app: Any, consumer: Any) -> Callable[..., None]:
    """Celery's hook: what to do with a message of a batch task."""

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        consumer.collector.collect(message)

    return handle
