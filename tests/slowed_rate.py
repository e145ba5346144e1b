"""How fast `tests.slowed_store` lets a child store: apart from it, because it needs a fleet's settings to be imported."""

CHILD_RATE = 150
"""Messages a second."""
