"""The account of every message finds what was planted, and nothing where all is well."""

from collections.abc import Sequence

from loadgen.audit import Audit, Fate, Row

CONVERSATIONS = 3


def fate(
    rows: Sequence[Row],
    *,
    planned: int = 9,
    rejected: Sequence[int] = (),
    dead: Sequence[int] = (),
    counts: dict[int, int] | None = None,
) -> Fate:
    accepted = bytearray(0 if number in rejected else 1 for number in range(planned))
    audit = Audit(accepted, planned)
    for row in rows:
        audit.row(row)
    for number in dead:
        audit.dead(number)
    if counts is None:
        counts = {}
        for row in rows:
            counts[row.conversation] = counts.get(row.conversation, 0) + 1
    return audit.fate(counts)


def stored(*numbers: int) -> list[Row]:
    """Rows of these messages in this order of storing; message n is number n // 3 + 1 of conversation n % 3."""
    rows = []
    for conversation in range(CONVERSATIONS):
        mine = [number for number in numbers if number % CONVERSATIONS == conversation]
        rows += [Row(number, conversation, place, number // CONVERSATIONS + 1) for place, number in enumerate(mine, 1)]
    return rows


def test_a_run_in_which_all_is_stored_once_and_in_order_has_no_fault() -> None:
    found = fate(stored(*range(9)))
    assert found == Fate(
        sent=9, accepted=9, rejected=0, stored=9, dead_lettered=0, lost=0, duplicated=0, reordered=0, miscounted=0
    )
    assert found.faults() == []


def test_conversations_interleaved_in_any_way_are_not_reordered() -> None:
    assert fate(stored(2, 5, 8, 0, 1, 3, 4, 6, 7)).reordered == 0


def test_an_accepted_message_that_is_nowhere_is_lost() -> None:
    found = fate(stored(0, 1, 2, 3, 5, 6, 7, 8))
    assert (found.lost, found.stored, found.reordered, found.miscounted) == (1, 8, 0, 0)
    assert found.faults() == ["1 message lost"]


def test_a_dead_lettered_message_is_not_lost_and_breaks_no_order() -> None:
    found = fate(stored(0, 1, 2, 3, 5, 6, 7, 8), dead=[4])
    assert (found.lost, found.dead_lettered, found.faults()) == (0, 1, [])


def test_a_rejected_message_is_neither_lost_when_absent_nor_a_fault_when_stored_anywhere() -> None:
    assert fate(stored(0, 1, 2, 3, 5, 6, 7, 8), rejected=[4]).faults() == []
    late = fate(stored(0, 1, 2, 3, 5, 6, 7, 8, 4), rejected=[4])
    assert (late.rejected, late.accepted, late.stored, late.faults()) == (1, 8, 9, [])


def test_a_second_row_of_an_id_is_a_duplicate() -> None:
    found = fate(stored(0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8))
    assert (found.duplicated, found.stored, found.reordered) == (2, 9, 0)


def test_a_message_behind_one_sent_later_is_reordered() -> None:
    assert fate(stored(3, 0, 6, 1, 4, 7, 2, 5, 8)).reordered == 1
    assert fate(stored(6, 3, 0, 1, 4, 7, 2, 5, 8)).reordered == 2
    assert fate(stored(6, 0, 3, 1, 4, 7, 2, 5, 8)).reordered == 2


def test_a_lost_ordinal_is_seen_as_disorder() -> None:
    rows = stored(*range(9))
    assert fate([*rows[:-1], rows[-1]._replace(ordinal=0)]).reordered == 1


def test_a_count_that_is_not_the_number_of_rows_is_a_fault() -> None:
    rows = stored(*range(9))
    assert fate(rows, counts={0: 3, 1: 3, 2: 4}).miscounted == 1
    assert fate(rows, counts={0: 3, 1: 3}).miscounted == 1
    assert fate(rows, counts={0: 3, 1: 3, 2: 3, 99: 1}).miscounted == 1


def test_a_gap_or_a_repeat_in_the_sequence_is_a_fault() -> None:
    rows = stored(*range(9))
    assert fate([*rows[:-1], rows[-1]._replace(sequence=4)]).miscounted == 1
    assert fate([*rows[:-1], rows[-1]._replace(sequence=2)]).miscounted == 1


def test_faults_are_named_in_one_line_each() -> None:
    found = fate(stored(3, 0, 2, 5, 8, 8))._replace(miscounted=1)
    assert found.faults() == ["4 messages lost", "1 message duplicated", "1 message reordered", "1 conversation miscounted"]
