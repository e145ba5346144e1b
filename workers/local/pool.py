"""The store workers of a fleet, as many as are wanted: further ones are started, the newest of too many drain and end."""

from collections.abc import Callable
from pathlib import Path

from workers.local.member import Member
from workers.local.program import Program


class Pool:
    """See the module.

    Args:
        program: makes the program of worker number 1, 2 and so on.
        log: makes the path of a program's log.
        least: workers that the fleet starts with.
        most: workers at most.
    """

    def __init__(self, program: Callable[[int], Program], log: Callable[[Program], Path], least: int, most: int) -> None:
        self._program, self._log = program, log
        self.least, self.most = least, most
        self._numbers: dict[int, Member] = {}

    def start(self) -> list[Member]:
        """The first ones."""
        return [self._add(number, scaled=False) for number in range(1, self.least + 1)]

    def scale(self, wanted: int) -> tuple[list[Member], list[Member]]:
        """Come nearer to ``wanted``, within the bounds: the members that are new, and those of whom nothing is left."""
        gone = [number for number, member in self._numbers.items() if member.gone]
        left = [self._numbers.pop(number) for number in gone]
        serving = sorted(number for number, member in self._numbers.items() if not member.dismissed)
        wanted = min(max(wanted, self.least), self.most)
        for number in serving[wanted:]:
            self._numbers[number].dismiss()
        free = (number for number in range(1, self.most + len(self._numbers) + 1) if number not in self._numbers)
        return [self._add(next(free), scaled=True) for _ in range(wanted - len(serving))], left

    def _add(self, number: int, *, scaled: bool) -> Member:
        program = self._program(number)
        self._numbers[number] = Member(program, self._log(program), scaled=scaled)
        return self._numbers[number]
