"""How many plans are asked for, and what a plan may show."""

from shared.db.explain import redacted, with_numbers
from shared.db.slow_queries import Rate


def test_a_statement_s_plan_is_asked_for_once_a_minute() -> None:
    rate = Rate(6)
    assert rate.passes("a", 0)
    assert not rate.passes("a", 59)
    assert rate.passes("b", 59)
    assert rate.passes("a", 60)


def test_no_more_plans_a_minute_than_the_bound_whatever_is_slow() -> None:
    rate = Rate(6)
    assert sum(rate.passes(str(number), number / 100) for number in range(1_000)) == 6
    assert sum(rate.passes(str(number), 61 + number / 100) for number in range(1_000)) == 6


def test_placeholders_become_the_server_s_and_one_name_one_number() -> None:
    sql = "SELECT 5 %% 2 FROM a WHERE b = %(b)s::UUID AND c > %(c_1)s AND d = %(b)s"
    assert with_numbers(sql) == ("SELECT 5 % 2 FROM a WHERE b = $1::UUID AND c > $2 AND d = $1", 2)


def test_quoted_text_in_a_plan_is_left_out() -> None:
    assert redacted("  Filter: (text = 'it''s secret'::text)") == "  Filter: (text = '?'::text)"
