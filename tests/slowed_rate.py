"""How slow `tests.slowed_store` is; apart from it, because that one wants a broker as soon as it is loaded."""

CHILD_RATE = 150
"""Messages a second."""
