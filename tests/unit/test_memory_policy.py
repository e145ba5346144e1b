"""What the memory guard decides, from numbers alone."""

from hypothesis import given
from hypothesis import strategies as st

from workers.memory.container import Container
from workers.memory.policy import Instance, Kill, Limits, Process, Retire, Stop, decide, spent

MB = 2**20
LIMITS = Limits(worker=512 * MB, child=192 * MB, growth=96 * MB, container=0.9)
WELL = (Process(1, 60 * MB, 30 * MB), Process(2, 50 * MB, 30 * MB))


def instance(*children: Process, parent: int = 60, container: Container | None = None) -> Instance:
    return Instance(Process(9, parent * MB, 50 * MB), children or WELL, container)


def test_a_worker_within_its_limits_is_left_alone() -> None:
    assert decide(instance(), LIMITS, replacing=False) is None


def test_a_child_over_its_limit_is_retired_and_of_two_the_larger() -> None:
    assert decide(instance(Process(1, 193 * MB, 150 * MB), WELL[1]), LIMITS, replacing=False) == Retire(1, "child_memory")
    both = (Process(1, 193 * MB, 150 * MB), Process(2, 194 * MB, 150 * MB))
    assert decide(instance(*both), LIMITS, replacing=False) == Retire(2, "child_memory")


def test_a_child_that_begins_over_its_limit_still_runs_batches() -> None:
    small = LIMITS._replace(child=20 * MB)
    assert decide(instance(Process(1, 31 * MB, 30 * MB)), small, replacing=False) is None
    assert spent(instance(Process(1, 31 * MB, 30 * MB)), small) == []
    assert spent(instance(Process(1, 40 * MB, 30 * MB)), small) == [1]


def test_a_child_that_grew_is_retired_long_before_its_limit() -> None:
    assert decide(instance(WELL[0], Process(2, 127 * MB, 30 * MB)), LIMITS, replacing=False) == Retire(2, "child_growth")


def test_while_one_is_replaced_no_other_goes() -> None:
    over = (Process(1, 200 * MB, 30 * MB), Process(2, 200 * MB, 30 * MB))
    assert decide(instance(*over), LIMITS, replacing=True) is None


def test_children_that_are_too_much_together_go_the_one_that_grew_most_first() -> None:
    limits = LIMITS._replace(child=400 * MB, growth=400 * MB)
    many = (Process(1, 240 * MB, 60 * MB), Process(2, 240 * MB, 30 * MB))
    assert decide(instance(*many), limits, replacing=False) == Retire(2, "worker_memory")


def test_a_child_larger_than_the_whole_worker_may_be_is_killed_in_its_batch() -> None:
    assert decide(instance(Process(1, 513 * MB, 30 * MB)), LIMITS, replacing=True) == Kill(1, "runaway")


def test_a_parent_that_grew_stops_the_worker_for_no_child_would_help() -> None:
    assert decide(instance(parent=460), LIMITS, replacing=False) == Stop("worker_memory")


def test_a_worker_whose_limit_is_less_than_it_needs_is_not_stopped_for_ever_and_ever() -> None:
    action = decide(instance(), LIMITS._replace(worker=100 * MB, child=90 * MB), replacing=False)
    assert not isinstance(action, Stop)


def test_a_container_nearly_full_loses_first_the_child_that_grew_then_the_worker() -> None:
    grown = (Process(1, 90 * MB, 30 * MB), WELL[1])
    nearly = instance(*grown, container=Container(limit=250 * MB, used=205 * MB))
    assert decide(nearly, LIMITS, replacing=False) == Retire(1, "container")
    full = instance(*grown, container=Container(limit=250 * MB, used=226 * MB))
    assert decide(full, LIMITS, replacing=True) == Stop("container")


def test_a_container_that_others_fill_does_not_stop_a_worker_that_has_nothing_to_give_back() -> None:
    full = Container(limit=4096 * MB, used=4000 * MB)
    assert decide(instance(container=full), LIMITS, replacing=False) is None


SIZES = st.integers(min_value=0, max_value=600).map(lambda mb: mb * MB)


@given(
    parent=st.tuples(SIZES, SIZES),
    sizes=st.lists(st.tuples(SIZES, SIZES), max_size=4),
    container=st.none() | st.builds(Container, st.just(512 * MB), SIZES),
    replacing=st.booleans(),
)
def test_whatever_is_measured_the_action_is_one_that_helps(
    parent: tuple[int, int], sizes: list[tuple[int, int]], container: Container | None, replacing: bool
) -> None:
    children = tuple(Process(pid, pss, least) for pid, (pss, least) in enumerate(sizes))
    it = Instance(Process(9, *parent), children, container)
    action = decide(it, LIMITS, replacing=replacing)
    if isinstance(action, Retire):
        child = children[action.pid]
        assert not replacing
        assert child.pss > LIMITS.child or child.grown > 0
    elif isinstance(action, Kill):
        assert children[action.pid].pss > LIMITS.worker
    elif isinstance(action, Stop):
        assert it.grown > 0 or it.parent.grown > 0
    elif not replacing:
        assert all(child.grown <= LIMITS.growth for child in children)
        assert spent(it, LIMITS) == []
