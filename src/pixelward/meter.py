"""How far a long command is: a bar on a terminal, a plain line now and then elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress

QUIET = 2.0  # seconds before anything is shown
SURE = 5.0  # seconds before the time left is told: what begins says little of what follows
BETWEEN = 10.0  # seconds from one plain line to the next


class Meter:
    """Takes (done, in all, items a second), as scan, draw, export and train report it."""

    def __init__(self, title: str, items: str) -> None:
        """items: what the rate counts, which need not be what is done and left."""
        self._title, self._items = title, items
        self._bar: Progress | None = None
        self._began = self._told = time.monotonic()
        self._first: int | None = None
        self.idle = False  # there was nothing left to do

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int, rate: float) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self.idle = done, rate == 0 and done == total
        if now - self._began < QUIET:
            return
        known = []
        if rate >= 0.05:  # what would be told as 0.0 is not known yet
            known.append(f"{rate:.{0 if rate >= 10 else 1}f} {self._items} a second")
        if done > self._first and now - self._began >= SURE:  # what was done before this run says nothing of its speed
            known.append(f"{_clock((now - self._began) / (done - self._first) * (total - done))} left")
        if sys.stderr.isatty():
            self._draw(done, total, ", ".join(known))
        elif now - self._told >= BETWEEN or self._told == self._began:
            self._told = now
            self.line(", ".join([f"{self._title}: {done} of {total}", *known]))

    def line(self, text: str) -> None:
        """A line that stays, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr)

    def _draw(self, done: int, total: int, words: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed} of {task.total}  {task.fields[words]}"),
                console=Console(stderr=True),
            )
            self._bar.add_task(self._title, words="")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, words=words)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
