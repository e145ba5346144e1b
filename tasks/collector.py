"""The parent's side of batch tasks: collect messages, give each pool slot a batch, settle what comes back.

Celery hands every message of a batch task to `strategy` before a request is built; nothing is decoded here but the lane.
A slot flushes as soon as it is idle, so a batch is what arrived while the last one ran: small when there is little, full
under load. Everything runs on the worker's event loop, in one thread.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from celery import bootsteps
from celery.worker.consumer.tasks import Tasks

from shared.clock import monotonic_seconds, wall_seconds
from shared.log import get_logger
from shared.metrics import BATCH_SECONDS, BATCH_SIZE, END_TO_END_SECONDS, MESSAGES, REDELIVERIES
from shared.outcome import DeadLetter, Discard, Done, Outcome, Retry
from shared.producer import ACCEPTED_AT, LANE, VIA
from shared.settings import settings
from shared.topology import lane_of
from tasks.batch import Call, Failed, Settled, describe, run
from tasks.flight import Flight
from tasks.slot import Pending, Slot

log = get_logger(__name__)

LABELS = {Done: "done", Retry: "retry", Discard: "discarded", DeadLetter: "dead_letter"}
UNNAMED = "unnamed"
"""Task name under which a message that names no batch task is buried."""


class OrderKey(msgspec.Struct):
    """What the lane is found by in a message that came without one."""

    account_id: str = ""
    conversation_id: str = ""


class Collector:
    """The slots of one worker. Lives as long as the worker; `drop` is called whenever the connection is lost.

    Args:
        consumer: Celery's consumer, for its pool, timer and event dispatcher.
    """

    def __init__(self, consumer: Any) -> None:
        config = settings()
        self._consumer = consumer
        self._lanes = config.lanes
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
        self._flights: dict[int, Flight] = {}  # by slot number
        self._generation = 0
        self._flush_due = False
        self._wake_at = 0.0  # when the next planned flush comes; one timer, however many messages wait

    def collect(self, message: Any, task: str, *, verdict: str = "") -> None:
        """Take one message in; it runs when its slot is free. With ``verdict`` it is buried for that reason instead."""
        headers = message.headers if isinstance(message.headers, dict) else {}
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
        queue = message.delivery_info.get("routing_key") or UNNAMED
        lane = self._lane(headers, body)
        pending = Pending(
            task=task,
            lane=lane,
            queue=queue,
            task_id=str(headers.get("id") or message.delivery_tag),
            headers=headers,
            body=body,
            received_at=_accepted_at(headers),
            message=message,
            limit=self._messages_max,
        )
        if message.content_type != "application/json":
            verdict = verdict or f"content type {str(message.content_type)[:50]!r}, not application/json"
        if verdict:
            pending.give_up(verdict)
        if message.delivery_info.get("redelivered"):
            REDELIVERIES.labels(queue).inc()
        self._slots[lane % len(self._slots)].add(pending)
        self._flush_soon()

    def drop(self) -> None:
        """The claims are gone with the connection, or given back: forget what waits; what a child runs goes on unsettled."""
        self._generation += 1
        for slot in self._slots:
            slot.clear()
        for number, flight in list(self._flights.items()):
            if not flight.accepted:  # Celery's pool has just discarded it
                flight.crash("connection lost")
                flight.slot.running = False
                del self._flights[number]

    def _lane(self, headers: dict[str, Any], body: bytes) -> int:
        lane = headers.get(LANE)
        if isinstance(lane, int) and 0 <= lane < self._lanes:
            return lane
        try:
            arguments = msgspec.json.decode(body, type=Call).arguments
            key = msgspec.json.decode(arguments[0], type=OrderKey)
            return lane_of(key.account_id, key.conversation_id, self._lanes)
        except (msgspec.DecodeError, IndexError, UnicodeError, RecursionError):
            return 0  # broken: any lane will do to bury it

    def _flush_soon(self) -> None:
        """At the end of this turn of the loop, so that what arrives in one turn goes in one batch."""
        if not self._flush_due:
            self._flush_due = True
            self._consumer.hub.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        now = monotonic_seconds()
        for number, slot in enumerate(self._slots):
            if batch := slot.next_batch(now):
                self._start(number, slot, batch)
            elif (wake := slot.wake_at(now)) is not None and not now < self._wake_at <= wake:
                self._wake_at = wake
                self._consumer.timer.call_after(max(0.01, wake - now), self._flush_soon)

    def _start(self, number: int, slot: Slot, batch: list[Pending]) -> None:
        flight = Flight(batch[0].task, batch, slot, self._consumer.hostname, self._consumer.event_dispatcher)
        generation = self._generation

        def landed(answer: Settled | Failed | None, lost: str = "") -> None:
            self._flights.pop(number, None)
            self._land(flight, answer, lost, current=generation == self._generation)

        self._flights[number] = flight
        flight.take_off()
        self._consumer.pool.apply_async(
            run,
            (flight.name, [pending.wire() for pending in batch], self._consumer.hostname),
            callback=landed,
            error_callback=lambda failure: landed(None, describe(failure.exception)),
            accept_callback=flight.on_accepted,
            timeout_callback=_log_timeout,
            timeout=self._timeout,
            correlation_id=flight.id,
        )

    def _land(self, flight: Flight, answer: Settled | Failed | None, lost: str, *, current: bool) -> None:
        slot, batch, now = flight.slot, flight.members, monotonic_seconds()
        if isinstance(answer, Settled):
            slot.settled()
            flight.land(self._settle(flight, answer, current=current), answer.seconds)
        else:
            reason = answer.reason if answer else lost
            flight.crash(reason)
            if not current:
                slot.running = False
            elif answer and answer.outage:
                pause = slot.outage(batch, now)
                log.warning("dependency out, batch waits", task=flight.name, size=len(batch), pause=pause, reason=reason)
            else:
                slot.failed(batch, reason, now, wall_seconds(), lost=answer is None)
                log.warning("batch failed, halved", task=flight.name, size=len(batch), reason=reason)
        self._flush_soon()

    def _settle(self, flight: Flight, answer: Settled, *, current: bool) -> Counter[str]:
        queue = flight.members[0].queue
        counts: Counter[str] = Counter()
        retries = []
        for pending, outcome in zip(flight.members, answer.outcomes, strict=True):
            counts[LABELS[type(outcome)]] += 1
            if not current:
                continue  # its claim is lost: whoever has it now finds it done
            if isinstance(outcome, Retry):
                retries.append((pending, outcome))
                continue
            pending.message.ack_log_error(log, self._consumer.connection_errors)
            _observe_end(pending, outcome, answer.ended_at)
        if retries:
            flight.slot.retried(retries, monotonic_seconds(), wall_seconds())
        for label, count in counts.items():
            MESSAGES.labels(queue, label).inc(count)
        BATCH_SIZE.labels(queue).observe(len(flight.members))
        BATCH_SECONDS.labels(queue).observe(answer.seconds)
        log.info("batch settled", task=flight.name, size=len(flight.members), seconds=round(answer.seconds, 4), **counts)
        return counts


def _observe_end(pending: Pending, outcome: Outcome, ended_at: float) -> None:
    if isinstance(outcome, Done):
        via = pending.headers.get(VIA)
        label = via if via in ("webhook", "api") else "celery"
        END_TO_END_SECONDS.labels(label).observe(max(0.0, ended_at - pending.received_at))


def _accepted_at(headers: dict[str, Any]) -> float:
    accepted, now = headers.get(ACCEPTED_AT), wall_seconds()
    return float(accepted) if isinstance(accepted, int | float) and 0 <= accepted <= now + 3600 else now


def _log_timeout(*, soft: bool, timeout: float) -> None:
    log.error("batch out of time, its child is killed", timeout_seconds=timeout)


class CollectorStep(bootsteps.StartStopStep):
    """Gives Celery's consumer its collector, and clears it whenever the consumer stops or reconnects."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        consumer.collector = Collector(consumer)

    def stop(self, consumer: Any) -> None:
        """The connection is going: its claims with it."""
        consumer.collector.drop()


def strategy(task: Any, app: Any, consumer: Any) -> Callable[..., None]:
    """Celery's hook: what to do with a message of a batch task."""

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        consumer.collector.collect(message, task.name)

    return handle
