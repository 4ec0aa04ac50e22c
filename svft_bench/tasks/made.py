"""Sequences whose items are made when they are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, overload

Item = TypeVar("Item")


class Made(Sequence[Item]):
    """Subclasses say how long they are and make the item `at` a place; a part is a list, or what they make of one."""

    def at(self, index: int) -> Item:
        """The item at a place, counted from the first."""
        raise NotImplementedError

    def part(self, places: slice) -> Sequence[Item]:
        """The items at some places."""
        return [self.at(place) for place in range(len(self))[places]]

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        return self.part(index) if isinstance(index, slice) else self.at(range(len(self))[index])
