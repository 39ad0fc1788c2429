"""What was asked for last, kept in memory: so many things and no more."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

K = TypeVar("K")
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")


class Kept(Generic[K, T]):
    """The things that were asked for last, at most `most` of them. Safe to use from many threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: OrderedDict[K, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> T | None:
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
            return self._things.get(key)

    def put(self, key: K, thing: T) -> None:
        with self._lock:
            self._things[key] = thing
            self._things.move_to_end(key)
            while len(self._things) > self._most:
                self._things.popitem(last=False)


class KeptOf(Generic[O, K, T]):
    """One thing each of the owners that asked last, at most `most` of them; it goes when its owner does.

    To be used by one thread at a time; owners may go in any.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: WeakKeyDictionary[O, tuple[K, T]] = WeakKeyDictionary()

    def get(self, owner: O, key: K) -> T | None:
        """The owner's thing; where it is another than that of `key` it is let go, for one will take its place."""
        found = self._things.pop(owner, None)
        if found is None or found[0] != key:
            return None
        self._things[owner] = found  # as the last one
        return found[1]

    def put(self, owner: O, key: K, thing: T) -> None:
        self._things.pop(owner, None)
        self._things[owner] = key, thing
        for oldest in list(self._things)[: -self._most]:
            self._things.pop(oldest, None)
