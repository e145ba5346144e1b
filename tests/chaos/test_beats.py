"""Row 25 of the faults, and row 4: beats that are killed, paused and resumed beside each other."""

import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from shared.topology import MAINTENANCE
from tasks.tick import begin
from tests.beat_process import beats, due_ms, start
from tests.chaos.form import sized
from tests.chaos.report import show
from tests.redis_server import RedisServer
from tests.waiting import eventually

TASK = "test.tick"
PERIOD_SECONDS = 0.1
KILL_SHARE = 0.3


class Effects:
    """Two consumers that get every tick twice, as after a lost acknowledgement.

    Args:
        url: of the broker.
    """

    def __init__(self, url: str) -> None:
        self.sent: list[int] = []
        self.ran: Counter[int] = Counter()
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._consume, args=(url,)) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let them finish what there is."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _consume(self, url: str) -> None:
        with redis.Redis.from_url(url) as broker:
            while (found := broker.brpop([MAINTENANCE], timeout=1)) is not None or not self._stop.is_set():
                if found is None:
                    continue
                due = due_ms(found[1])
                verdicts = [begin(broker, TASK, due) for _ in range(2)]
                with self._lock:
                    self.sent.append(due)
                    self.ran[due] += verdicts.count("run")


@contextmanager
def consumers(url: str) -> Iterator[Effects]:
    """Two for the length of a ``with``."""
    effects = Effects(url)
    try:
        yield effects
    finally:
        effects.end()


def test_two_beats_paused_and_killed_at_random_send_each_tick_once_and_its_effect_happens_once(
    broker: RedisServer, dice: random.Random
) -> None:
    wanted, faults = sized(40, 600), 0
    with consumers(broker.url) as effects, beats(broker.url, TASK, PERIOD_SECONDS, 2) as processes:
        eventually("a tick is sent", lambda: effects.sent, within=30)
        while (sent := len(effects.sent)) < wanted:
            victim, faults = dice.randrange(2), faults + 1
            if dice.random() < KILL_SHARE:
                processes[victim].kill()
                processes[victim].wait(10)
                processes[victim] = start(broker.url, TASK, PERIOD_SECONDS)
            else:
                processes[victim].send_signal(signal.SIGSTOP)
            after = sent + dice.randrange(1, 6)
            eventually("ticks go on", lambda after=after: len(effects.sent) >= after, within=30, every=0.01)
            processes[victim].send_signal(signal.SIGCONT)
    assert not [due for due, count in Counter(effects.sent).items() if count > 1], "a tick was sent twice"
    assert not [due for due, count in effects.ran.items() if count > 1], "a tick had its effect twice"
    assert effects.ran[max(effects.sent)] == 1
    assert all(due % round(PERIOD_SECONDS * 1000) == 0 for due in effects.sent)
    show(
        "4, 25", "two beats, one of them paused or killed", injections=faults, messages=len(effects.sent), more="ticks, each once"
    )
