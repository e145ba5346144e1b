"""What is asked of the cache, as keys in their order: made for choosing its policy.

Three kinds, of 200,000 requests each. *Lookups*: an ingress's, one for each request, of 20,000 channels by Zipf's law.
*Conversations*: 200 of them active at any moment, each a burst of 1 to 20 messages among the others', started by Zipf's law over
100,000. *Import*: the same with one message in five of an import that touches each of its conversations once.
"""

from collections.abc import Callable, Iterator
from random import Random

REQUESTS = 200_000
CHANNELS = 20_000
CONVERSATIONS = 100_000
ACTIVE = 200
BURST_MAX = 20
IMPORT_SHARE = 0.2
SEED = 20_261_127


def lookups() -> list[str]:
    """See the module."""
    random = Random(SEED)
    return list(map(str, random.choices(range(CHANNELS), _zipf(CHANNELS), k=REQUESTS)))


def conversations() -> list[str]:
    """See the module."""
    return [key for key, _ in zip(_bursts(Random(SEED)), range(REQUESTS), strict=False)]


def imports() -> list[str]:
    """See the module."""
    random, bursts = Random(SEED + 1), _bursts(Random(SEED))
    return [f"import-{number}" if random.random() < IMPORT_SHARE else next(bursts) for number in range(REQUESTS)]


TRAFFIC: dict[str, Callable[[], list[str]]] = {"lookups": lookups, "conversations": conversations, "import": imports}


def _bursts(random: Random) -> Iterator[str]:
    starts = iter(random.choices(range(CONVERSATIONS), _zipf(CONVERSATIONS), k=REQUESTS))
    active = [[next(starts), random.randint(1, BURST_MAX)] for _ in range(ACTIVE)]
    while True:
        place = random.randrange(ACTIVE)
        burst = active[place]
        yield str(burst[0])
        burst[1] -= 1
        if not burst[1]:
            active[place] = [next(starts), random.randint(1, BURST_MAX)]


def _zipf(count: int) -> list[float]:
    return [1 / rank for rank in range(1, count + 1)]
