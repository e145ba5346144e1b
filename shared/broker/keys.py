"""Every key and channel that the transport adds to Redis. The queues themselves stay kombu's plain lists (docs/broker.md).

The scripts get these names as Lua locals (`LUA_NAMES`), so a name is written once.
"""

CONSUMERS = "headrace:consumers"
"""ZSET: consumer id -> end of its lease, milliseconds of the server's clock; 0 while its claims are being taken away."""
CONSUMING = "headrace:consuming"
"""HASH: consumer id -> the single-active queues it reads, separated by spaces; who shares the lanes."""
EPOCH = "headrace:epoch"
"""STRING: grows whenever CONSUMERS or CONSUMING changes, so that a consumer learns from its next claim to look again."""
LOOKED = "headrace:looked"
"""STRING: ``<when a consumer last looked for dead ones> <late or regular> <until when none is taken>``, server's ms."""
CLAIMS = "headrace:claims:"
"""HASH for each consumer: token -> payload. A message is in a list, in one of these, or in DELAYED; never in two or none."""
SERIAL = "headrace:serial"
"""STRING: the last number given to a claim; a token is ``<list>|<number>``, so numbers tell the order inside a list."""
HELD = "headrace:held"
"""HASH: single-active queue -> ``<consumer> <number of claims>`` of its one holder."""
ALONE = "headrace:alone"
"""HASH: token -> 1 while its message runs in a batch of one."""
DEATHS = "headrace:deaths"
"""HASH: SHA-1 of a payload -> ``<deaths> <deaths while alone>``; gone once the message is settled."""
DELAYED = "headrace:delayed"
"""ZSET: ``<token>\\n<payload>`` -> when it is due, milliseconds of the server's clock."""
PAUSED = "headrace:paused"
"""SET: queues that are not claimed from."""
REFUSED = "headrace:refused:"
"""LIST for each queue: what could not be read or forwarded, or was rejected. Kept until an operator decides."""
LANES = "headrace:lanes"
"""STRING: the fleet's number of lanes."""
TICKS_SENT = "headrace:ticks:sent"
"""HASH: entry of beat's schedule -> when its last tick was due, milliseconds."""
TICKS_BEGUN = "headrace:ticks:begun"
"""HASH: the same of the last tick whose task has begun."""
FORMAT = "headrace:format"
"""STRING: the number of the format in which all these keys are written; see FORMAT_KNOWN."""
FORMAT_KNOWN = 1
"""This code's format. Raise it when a key changes what it holds, not when one is added: then two versions cannot share a broker,
and the second to come refuses to start (docs/upgrades.md)."""
SETTLED = "headrace:settled"
"""HASH: kind of queue -> messages settled since the broker was new. Together with what waits it tells how fast work comes in."""
WAKE = "headrace:wake"
"""Channel: names of queues, separated by spaces, that have just been given messages; or EPOCH, when that has grown."""

SEPARATOR = "\x06\x16"
"""Kombu's, between a queue's name and a priority step: a stock producer's ``priority=5`` goes to ``messages\\x06\\x163``."""
PRIORITY_STEPS = (0, 3, 6, 9)
"""Kombu's, in the order in which they are read: 0 is the most urgent on Redis."""

LUA_NAMES = "".join(
    f"local {name} = '{value}'\n"
    for name, value in {
        "CONSUMERS": CONSUMERS,
        "CONSUMING": CONSUMING,
        "EPOCH": EPOCH,
        "LOOKED": LOOKED,
        "CLAIMS": CLAIMS,
        "SERIAL": SERIAL,
        "HELD": HELD,
        "ALONE": ALONE,
        "DEATHS": DEATHS,
        "DELAYED": DELAYED,
        "PAUSED": PAUSED,
        "REFUSED": REFUSED,
        "LANES": LANES,
        "TICKS_SENT": TICKS_SENT,
        "TICKS_BEGUN": TICKS_BEGUN,
        "FORMAT": FORMAT,
        "SETTLED": SETTLED,
        "WAKE": WAKE,
    }.items()
)


def lists_of(queue: str) -> list[str]:
    """The lists in which a queue's messages wait, the most urgent first."""
    return [queue if step == 0 else f"{queue}{SEPARATOR}{step}" for step in PRIORITY_STEPS]


def list_of(token: str) -> str:
    """The list that a claimed message was taken from."""
    return token.rpartition("|")[0]


def queue_of(token: str) -> str:
    """The queue that a claimed message was taken from."""
    return list_of(token).partition(SEPARATOR)[0]


def number_of(token: str) -> int:
    """Its number: within a list, messages claimed later have larger ones."""
    return int(token.rpartition("|")[2])
