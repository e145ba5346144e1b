"""What is sent: a stream of messages that its seed determines, the run's name in the ids and the due times in `sent_at` aside.

Conversations are chosen by a Zipf-Mandelbrot law, weight 1 / (rank + q), with q a hundredth of their number: as in life a few
talk a lot and most hardly ever, yet the hottest takes about 2 in 100 messages of 1,000 conversations. There are two
conversations for each message a second (`conversations_for`), so the hottest one gets about 10 a second at any rate, and
the wait for its previous acknowledgement, which keeps it in order, is not what a run measures.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import accumulate
from random import Random
from typing import NamedTuple

from shared.message import Author, Message

TEXT_BYTES_MIN = 50
TEXT_BYTES_MAX = 400
TEXTS = 512
"""Different texts; a message takes one of them."""

CONVERSATIONS_MIN = 100
CONVERSATIONS_MAX = 100_000
ORDINAL = "ordinal"
"""Key in a message's metadata: its number within the conversation, from 1 on, in the order of sending."""

WORDS = """
hello thanks please order parcel tracking number invoice refund address delivery tomorrow yesterday today still waiting
could you check whether the blue one is back in stock or not and when it ships to Zürich São Paulo Kraków Москва 東京
my account says payment failed but the bank shows it went through so what now I tried again twice nothing changed
great that works perfect 👍 see you then bye
""".split()  # noqa: SIM905 - reads as text


class Utterance(NamedTuple):
    """A message before it is built: light, because thousands wait when a fleet does not keep up.

    Args:
        number: which of the run's messages, from 0 on.
        conversation: the conversation's number in the run.
        ordinal: its number within the conversation, from 1 on.
        text: which text.
    """

    number: int
    conversation: int
    ordinal: int
    text: int


class Scenario:
    """A seeded stream.

    Args:
        run: the run's name, unique; starts every message id.
        seed: determines the order of conversations and the texts.
        accounts: 1 or more; conversation i belongs to account i % accounts.
        conversations: CONVERSATIONS_MIN to CONVERSATIONS_MAX.
    """

    def __init__(self, run: str, *, seed: int, accounts: int, conversations: int) -> None:
        self.run = run
        self.accounts = accounts
        self.conversations = conversations
        self._seed = seed
        random = Random(seed)  # noqa: S311
        self._texts = [_text(random) for _ in range(TEXTS)]
        self._id = re.compile(re.escape(run) + r"-(\d+)")

    def stream(self, count: int) -> Iterator[Utterance]:
        """The first ``count`` messages; the same ones each time."""
        random = Random(self._seed)  # noqa: S311
        flattening = self.conversations / 100
        ranks = range(1, self.conversations + 1)
        weights = list(accumulate(1 / (rank + flattening) for rank in ranks))
        numbers = list(range(self.conversations))
        random.shuffle(numbers)  # so that the hot ones are spread over the accounts
        ordinals = [0] * self.conversations
        for number in range(count):
            conversation = random.choices(numbers, cum_weights=weights)[0]
            ordinals[conversation] += 1
            yield Utterance(number, conversation, ordinals[conversation], random.randrange(TEXTS))

    def account_of(self, utterance: Utterance) -> int:
        """The number of the account that the message belongs to."""
        return utterance.conversation % self.accounts

    def message(self, utterance: Utterance, sent_at: datetime) -> Message:
        """The message as a producer sends it."""
        conversation = utterance.conversation
        return Message(
            message_id=f"{self.run}-{utterance.number:08d}",
            conversation_id=f"c-{conversation}",
            author=Author(f"u-{conversation}", f"Customer {conversation}"),
            text=self._texts[utterance.text],
            sent_at=sent_at,
            metadata={ORDINAL: utterance.ordinal},
        )

    def number_of(self, text: str) -> int | None:
        """The number in the first of this run's message ids in ``text``, or None."""
        found = self._id.search(text)
        return int(found[1]) if found else None


def conversations_for(rate: float) -> int:
    """How many conversations a run at ``rate`` messages a second gets: two for each message a second, within the bounds."""
    return min(max(int(2 * rate), CONVERSATIONS_MIN), CONVERSATIONS_MAX)


def _text(random: Random) -> str:
    # Most messages are short: the mean is near 120 bytes.
    wanted = min(TEXT_BYTES_MIN + int(random.expovariate(1 / 70)), TEXT_BYTES_MAX - 20)
    text = random.choice(WORDS)
    while len(text.encode()) < wanted:
        text += " " + random.choice(WORDS)
    return text
