"""The estimate of each account's backlog: never less than the truth, and after a look in a quiet moment the truth."""

from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from workers.ingress.backlog import RUNS_OF_A_LANE_MAX, SHARED_SECONDS_MAX, Backlog

ACCOUNTS = ("a", "b", "c")
LANES = ("messages.00", "messages.01")
OTHER = "another producer's"


class Lanes(RuleBasedStateMachine):
    """Lanes as they are in the broker: what is written is there before its writer hears of it; the oldest are settled first."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog = Backlog()
        self.lanes: dict[str, deque[str]] = {lane: deque() for lane in LANES}
        self.unheard: deque[tuple[str, str, int]] = deque()
        self.looking = False
        self.seen: dict[str, int] | None = None

    @rule(account=st.sampled_from(ACCOUNTS), lane=st.sampled_from(LANES), count=st.integers(1, 20))
    def write(self, account: str, lane: str, count: int) -> None:
        self.lanes[lane].extend([account] * count)
        self.unheard.append((account, lane, count))

    @rule(lane=st.sampled_from(LANES), count=st.integers(1, 20))
    def others_write(self, lane: str, count: int) -> None:
        self.lanes[lane].extend([OTHER] * count)

    @precondition(lambda self: self.unheard)
    @rule()
    def hear(self) -> None:
        account, lane, count = self.unheard.popleft()
        self.backlog.put(account, {lane: count}, 0.0)

    @rule(lane=st.sampled_from(LANES), count=st.integers(1, 30))
    def settle(self, lane: str, count: int) -> None:
        for _ in range(min(count, len(self.lanes[lane]))):
            self.lanes[lane].popleft()

    @precondition(lambda self: not self.looking)
    @rule()
    def ask(self) -> None:
        self.backlog.asked()
        self.looking, self.seen = True, None

    @precondition(lambda self: self.looking and self.seen is None)
    @rule()
    def see(self) -> None:
        self.seen = {lane: len(content) for lane, content in self.lanes.items() if content}

    @precondition(lambda self: self.seen is not None)
    @rule()
    def tell(self) -> None:
        assert self.seen is not None
        self.backlog.told(self.seen, sum(count for *_, count in self.unheard), 0.0)
        self.looking, self.seen = False, None

    @precondition(lambda self: self.looking)
    @rule()
    def hear_nothing(self) -> None:
        self.looking, self.seen = False, None

    @precondition(lambda self: not self.unheard and not self.looking)
    @rule()
    def a_look_in_a_quiet_moment_is_the_truth(self) -> None:
        self.ask()
        self.see()
        self.tell()
        for lane in LANES:
            if OTHER in self.lanes[lane]:
                return
        for account in ACCOUNTS:
            assert self.backlog.of(account) == self.truth(account)

    @invariant()
    def the_estimate_is_never_less_than_the_truth(self) -> None:
        unheard = Counter[str]()
        for account, _, count in self.unheard:
            unheard[account] += count
        for account in ACCOUNTS:
            assert self.backlog.of(account) + unheard[account] >= self.truth(account)

    def truth(self, account: str) -> int:
        return sum(content.count(account) for content in self.lanes.values())


TestLanes = Lanes.TestCase


def look(it: Backlog, now: float = 0.0, **depths: int) -> None:
    it.asked()
    it.told(depths, 0, now)


def test_an_account_that_shares_a_flooded_lane_is_held_to_its_own_messages_alone() -> None:
    it = Backlog()
    for _ in range(20):
        it.put("flood", {"lane": 99}, 0.0)
        it.put("victim", {"lane": 1}, 0.0)
    look(it, lane=1000)
    assert (it.of("flood"), it.of("victim")) == (990, 10)


def test_an_empty_lane_empties_its_log_whatever_was_before() -> None:
    it = Backlog()
    it.put("a", {"one": 500, "two": 500}, 0.0)
    look(it, two=100)
    assert it.of("a") == 100
    look(it)
    assert it.of("a") == 0


def test_what_is_put_while_the_depths_are_asked_for_still_counts() -> None:
    it = Backlog()
    it.asked()
    it.put("a", {"lane": 5}, 0.0)
    it.told({}, 0, 0.0)
    assert it.of("a") == 5


def test_in_a_lane_that_others_fill_a_trickle_is_forgotten_after_a_while() -> None:
    it = Backlog()
    for second in range(1000):
        it.put("trickle", {"lane": 5}, float(second))
        look(it, now=float(second), lane=100_000)
    assert it.of("trickle") <= 5 * (SHARED_SECONDS_MAX + 1)


def test_in_a_lane_that_only_this_ingress_fills_nothing_waiting_is_forgotten() -> None:
    it = Backlog()
    for second in range(1000):
        it.put("a", {"lane": 5}, float(second))
        look(it, now=float(second), lane=5 * (second + 1))
    assert it.of("a") == 5000


def test_the_wait_is_the_age_of_the_accounts_oldest_message() -> None:
    it = Backlog()
    it.put("other", {"lane": 10}, 1.0)
    it.put("a", {"lane": 10}, 5.0)
    it.put("a", {"lane": 10}, 9.0)
    assert (it.wait_seconds("a", 12.0), it.wait_seconds("nobody", 12.0)) == (7.0, 0.0)
    look(it, lane=10)
    assert it.wait_seconds("a", 12.0) == 3.0


def test_the_log_is_bounded_and_forgets_the_oldest_first() -> None:
    it = Backlog()
    for number in range(3 * RUNS_OF_A_LANE_MAX):
        it.put(f"account {number}", {"lane": 1}, 0.0)
    assert it.of("account 0") == 0
    assert sum(it.of(f"account {number}") for number in range(3 * RUNS_OF_A_LANE_MAX)) == RUNS_OF_A_LANE_MAX


@given(st.lists(st.tuples(st.sampled_from(ACCOUNTS), st.integers(1, 9), st.floats(0, 1)), max_size=50), st.integers(0, 200))
def test_the_accounts_of_a_lane_add_up_to_no_more_than_its_depth(puts: list[tuple[str, int, float]], depth: int) -> None:
    it = Backlog()
    for account, count, now in sorted(puts, key=lambda put: put[2]):
        it.put(account, {"lane": count}, now)
    look(it, now=1.0, lane=depth)
    assert sum(map(it.of, ACCOUNTS)) == min(depth, sum(count for _, count, _ in puts))
