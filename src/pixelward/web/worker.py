"""One thread that does the work of all visitors, job by job, for a network cannot do two things at once."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from pixelward.web.refusals import Busy, Superseded

__all__ = ["Busy", "Superseded", "Worker"]

WAITING = 8  # jobs that may wait; with the one at work, a few seconds of it
PARTING = 1.0  # seconds that the job at work has to end when the server does; its thread holds up no exit

T = TypeVar("T")


class _Job(NamedTuple):
    do: Callable[[], Any]
    result: Future[Any]


class Worker:
    """Does jobs one at a time, in the order of their coming. Safe to call from many threads.

    Of each key, a visitor's own, only the newest job counts: it takes the place of one that waits, and one that is at
    work already ends where it next asks `go_on`; what it comes to is dropped. Jobs without a key all count.
    """

    def __init__(self, most: int = WAITING) -> None:
        """most: jobs that may wait."""
        self._most = most
        self._waiting: OrderedDict[object, _Job] = OrderedDict()
        self._at_work: tuple[object, _Job] | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, key: str, job: Callable[[], T]) -> T:
        """What `job` returns or raises, awaited without holding up the event loop. Raises as `submit` does.

        Where the awaiting task is cancelled, the job is not begun any more, or ends as one that was replaced.
        """
        result = self.submit(key, job)
        try:
            return await asyncio.wrap_future(result)
        except asyncio.CancelledError:
            if not result.cancel():
                with self._changed:
                    _drop(result)
            raise

    def go_on(self) -> None:
        """To be called by a long job between its steps: raises Superseded where nobody waits for it any more."""
        at_work = self._at_work
        if at_work is not None and at_work[1].result.done():
            raise _superseded()

    def submit(self, key: str, job: Callable[[], T]) -> Future[T]:
        """Have a job done; its result, or what it raises, or Superseded. Raises Busy where no more may wait."""
        mark: object = key or object()
        new = _Job(job, Future())
        with self._changed:
            self._forget_cancelled()
            if self._closed or (mark not in self._waiting and len(self._waiting) >= self._most):
                raise Busy(
                    given=f"one more question to the network, for which {len(self._waiting)} wait",
                    allowed=f"{self._most} that wait",
                    next_step="try again in a few seconds",
                )
            before = self._waiting.get(mark)
            self._waiting[mark] = new  # in the place of an older one, so that quick fingers do not lose their turn
            if self._at_work is not None and self._at_work[0] == mark:
                _drop(self._at_work[1].result)
            if before is not None:
                _drop(before.result)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="pixelward-worker", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return new.result

    def _forget_cancelled(self) -> None:
        """What nobody waits for any more takes no place among those that wait. To be called with the lock held."""
        for mark in [mark for mark, job in self._waiting.items() if job.result.cancelled()]:
            del self._waiting[mark]

    def close(self) -> None:
        """Take no more jobs and drop those that wait; and the one at work, unless it ends within PARTING."""
        with self._changed:
            self._closed = True
            for job in self._waiting.values():
                _drop(job.result)
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(PARTING)
            with self._changed:
                if self._at_work is not None:
                    _drop(self._at_work[1].result)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                mark, job = self._waiting.popitem(last=False)
                if not job.result.set_running_or_notify_cancel():
                    continue  # nobody waits for it any more
                self._at_work = mark, job
            try:
                done, raised = job.do(), None
            except BaseException as error:
                done, raised = None, error
            with self._changed:
                self._at_work = None
                if job.result.done():
                    continue  # dropped meanwhile
                if raised is None:
                    job.result.set_result(done)
                else:
                    job.result.set_exception(raised)


def _drop(result: Future[Any]) -> None:
    """Tell whoever waits for a job that it does not count any more."""
    if not result.done():
        result.set_exception(_superseded())


def _superseded() -> Superseded:
    return Superseded(
        given="a question that a newer one of the same page replaced",
        allowed="the newest question of a page",
        next_step="look at the answer to the newer one",
    )
