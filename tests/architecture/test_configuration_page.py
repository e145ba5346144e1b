"""docs/configuration.md is what the settings say."""

from pathlib import Path

from workers.settings_page import page

WRITTEN = Path(__file__).parents[2] / "docs/configuration.md"


def test_the_page_of_the_settings_is_up_to_date() -> None:
    assert WRITTEN.read_text() == page(), "a setting changed: run `make docs`"
