"""Producing: each call returns once the broker has written every message to its log.

A write is one round trip: an ``LPUSH`` for each queue, and one ``PUBLISH`` that wakes idle workers. Nothing is kept in memory
behind the caller's back: who waits for the broker waits in his own call, so a slow broker slows producers down and a dead one is
an error. Many callers on one event loop share writes through `workers.ingress.publisher`, which lingers for company.

Uncertainty: after `BrokerUnavailable` some, all or none may have been written, up to the last of what the call was given.
Repeat the whole. What was written twice has one effect, because effects are keyed by the sender's ids and never by the task's.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import count
from typing import Any, NamedTuple

import orjson
import redis
from uuid_utils import uuid4

from shared.broker.keys import LANES, WAKE
from shared.clock import from_epoch, wall_seconds
from shared.envelope import fill, mould, stamp
from shared.errors import BrokerUnavailable, ConfigurationError
from shared.redis_client import MASTER_DEFAULT, connect, is_sentinel
from shared.settings import Settings
from shared.topology import KINDS, LANED, LANES_DEFAULT, kind_of_task, lane_of, lane_queues

WRITE_MESSAGES_MAX = 1_000
"""Messages in one write: some milliseconds of the server, which serves nobody else meanwhile."""
WRITE_BYTES_MAX = 8 * 2**20
"""Bytes in one write, which reach a disk well within the broker's time-out; a larger single message is a write of its own."""
REPLICAS = 1
"""With Sentinel: replicas that must have a write before it counts, or a failover would lose it."""


class Item(NamedTuple):
    """One message of `Producer.enqueue_many`.

    Args:
        argument: the task's one argument; see `Producer.enqueue`.
        account_id: whose it is; needed by tasks whose order matters.
        order_key: what it is to be in order with: the conversation's id.
    """

    argument: Any
    account_id: str = ""
    order_key: str = ""


class Producer:
    """Writes messages to the broker. Thread-safe, usable on both sides of a fork; blocking: an event loop calls it in a thread.

    Args:
        broker_url: what Celery takes: ``redis://``, ``rediss://``, ``redis+socket://`` or ``sentinel://``.
        lanes: the fleet's number of lanes.
        own_queues: the queues of users' own tasks (docs/handlers.md).
        timeout: seconds to connect and to wait for each answer.
        master: what the Sentinels call the broker.
    """

    def __init__(
        self,
        broker_url: str,
        *,
        lanes: int = LANES_DEFAULT,
        own_queues: Collection[str] = (),
        timeout: float = 5,
        master: str = MASTER_DEFAULT,
    ) -> None:
        self._redis = connect(broker_url, timeout=timeout, master=master)
        self._lanes = lanes
        self._kinds = {*KINDS, *own_queues}
        self._wait_ms = int(timeout * 500) if is_sentinel(broker_url) else 0  # half: the answer is to come before the time-out
        self._agreed = False

    @classmethod
    def of(cls, config: Settings) -> "Producer":
        """The fleet's, as its settings say. Raises ConfigurationError without a broker's URL."""
        return cls(
            config.required("broker_url"),
            lanes=config.lanes,
            own_queues=config.own_queues,
            timeout=config.broker_timeout_seconds,
            master=config.broker_master,
        )

    def enqueue(
        self, task: str, argument: Any, *, account_id: str = "", order_key: str = "", delay: float = 0, via: str = "celery"
    ) -> str:
        """Queue one message; returns the task's id. For many at once there is `enqueue_many`.

        Args:
            task: the name of a batch task.
            argument: its one argument: a JSON value, or ``bytes`` that are JSON in UTF-8 and are embedded as they are.
            account_id: see Item.
            order_key: see Item.
            delay: seconds until it may run, by the broker's clock, 0 or more. A delayed message has no place in an order.
            via: the way in, a label of `end_to_end_seconds`: ``webhook``, ``api`` or ``celery``.

        Raises BrokerUnavailable (it may have been queued: repeat it), ConfigurationError for a task without a queue or lanes
        other than the fleet's, TypeError for what is no JSON value or has no order key where it needs one.
        """
        task_id = str(uuid4())
        self.publish(self._encoded(task, [Item(argument, account_id, order_key)], [task_id.encode()], delay, via))
        return task_id

    def enqueue_many(self, task: str, items: Iterable[Item], *, delay: float = 0, via: str = "celery") -> int:
        """Queue a message for each item, in their order, in writes of up to 1,000; returns how many there were.

        ``items`` may be a generator of any length: one write at a time is in memory. The rest is as `enqueue` says; an error in
        the middle leaves the writes before it done.
        """
        return self.publish(self._encoded(task, items, _ids(), delay, via))

    def publish(self, messages: Iterable[tuple[str, bytes]]) -> int:
        """Append ``messages``, pairs of a queue and an envelope, to their queues, in order; returns how many.

        Raises BrokerUnavailable; see the module.
        """
        lists: dict[str, list[bytes]] = {}
        number = total = size = 0
        for queue, payload in messages:
            if number and (number == WRITE_MESSAGES_MAX or size + len(payload) > WRITE_BYTES_MAX):
                self._write(lists)
                lists, total, number, size = {}, total + number, 0, 0
            number += 1
            size += len(payload)
            if queue in lists:
                lists[queue].append(payload)
            else:
                lists[queue] = [payload]
        if lists:
            self._write(lists)
        return total + number

    def ping(self) -> None:
        """Raises BrokerUnavailable unless the broker answers."""
        self._ask("PING")

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _encoded(
        self, task: str, items: Iterable[Item], ids: Iterable[bytes], delay: float, via: str
    ) -> Iterator[tuple[str, bytes]]:
        kind = kind_of_task(task)
        if kind not in self._kinds:
            raise ConfigurationError(f"task {task!r} has no queue: add {kind!r} to HEADRACE_TASK_QUEUES, or correct the name")
        laned = kind in LANED
        if laned:
            self._agree()
        queues = lane_queues(kind, self._lanes) if laned else [kind]
        moulds = [mould(task, queue, via) for queue in queues]
        times = stamp(wall_seconds(), self._due(delay) if delay > 0 else "")
        lane = 0
        for (argument, account_id, order_key), task_id in zip(items, ids, strict=False):
            if laned:
                if not (account_id and order_key):
                    raise TypeError(f"{task} keeps an order: give account_id and order_key")
                lane = lane_of(account_id, order_key, self._lanes)
            text = argument if isinstance(argument, bytes) else orjson.dumps(argument)
            yield queues[lane], fill(moulds[lane], text, times, task_id)

    def _agree(self) -> None:
        """With another number of lanes than the fleet's, order would be lost. Asked once: it changes only in a stopped fleet."""
        if not self._agreed:
            fleets = int(self._ask("GET", LANES) or self._lanes)
            if fleets != self._lanes:
                raise ConfigurationError(
                    f"this producer has {self._lanes} lanes, but this broker's fleet has {fleets}: set HEADRACE_LANES={fleets}"
                )
            self._agreed = True

    def _due(self, delay: float) -> str:
        """By the broker's clock, because the transport compares with that one."""
        seconds, micros = self._ask("TIME")
        return from_epoch(int(seconds) + int(micros) / 1e6 + delay).isoformat()

    def _ask(self, *command: str) -> Any:
        try:
            return self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            raise BrokerUnavailable(f"the broker does not answer: {_cause(error)}") from None

    def _write(self, lists: dict[str, list[bytes]]) -> None:
        # MULTI is for speed: the server reads 16 KiB a turn of its loop and syncs the disk after each turn that wrote something.
        # WAIT speaks of its own connection and does not wait inside of MULTI.
        pipeline = self._redis.pipeline(transaction=len(lists) > 1 and not self._wait_ms)
        for queue, payloads in lists.items():
            pipeline.lpush(queue, *payloads)
        pipeline.publish(WAKE, " ".join(lists))  # an idle worker hears it
        if self._wait_ms:
            pipeline.wait(REPLICAS, self._wait_ms)
        try:
            answers = pipeline.execute()
        except redis.RedisError as error:
            raise BrokerUnavailable(f"the broker did not confirm: {_cause(error)}") from None
        if self._wait_ms and answers[-1] < REPLICAS:
            raise BrokerUnavailable(f"no replica confirmed in {self._wait_ms} ms: see that one follows the master, then repeat")


def _cause(error: redis.RedisError) -> str:
    """One line, without the text of a ResponseError, which quotes the command and so a message."""
    if isinstance(error, redis.OutOfMemoryError):
        return "it is full; let workers drain it or raise its maxmemory, then repeat"
    if isinstance(error, redis.ResponseError):
        return f"{type(error).__name__}; its log says why"
    return f"{str(error).splitlines()[0] if str(error) else type(error).__name__}; see that it runs, then repeat"


def _ids() -> Iterator[bytes]:
    """UUID-shaped ids: 74 random bits for all of a call, then a number. A whole UUID each costs 0.5 us."""
    start = str(uuid4())[:24].encode()
    return (b"%s%012x" % (start, number) for number in count())
