"""The errors Headrace raises on purpose: one base, a shallow tree, named by cause."""


class HeadraceError(Exception):
    """Base of all of them. Its text is one line: what is wrong and, where there is one, the mend."""


class ConfigurationError(HeadraceError):
    """A setting is missing or does not fit the others. Raised before anything starts; mend the setting it names."""


class InvalidMessage(HeadraceError):
    """A message or webhook breaks its contract and will break it again.

    Never retried: the HTTP edge answers 400, a queue's consumer dead-letters it.

    Args:
        reason: what is wrong, without any of the message's content.
        field: the path of the offending field such as ``author.id``; empty when the whole is wrong.
    """

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason = reason
        self.field = field


class InvalidSignature(HeadraceError):
    """A webhook's signature is missing, wrong, or outside its time window. The edge answers 401."""


class BrokerUnavailable(HeadraceError):
    """The broker did not confirm a write. The messages may or may not be queued: repeating is safe, dropping is not."""


class NotFound(HeadraceError):
    """What was named does not exist. The CLI exits 1, the edge answers 404."""


class Raced(HeadraceError):
    """A concurrent transaction changed what this one counted on. Nothing is written; the same work run again will see it."""
