"""The one worker of the server: order, replacement of what is asked anew, bounds, and what jobs raise."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from pixelward.errors import PixelwardError
from pixelward.web.worker import Busy, Superseded, Worker

LONG = 30  # seconds after which a test fails rather than hangs


class Held:
    """A job that is at work until it is let go."""

    def __init__(self) -> None:
        self.started, self.let_go = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.started.set()
        assert self.let_go.wait(LONG)
        return "held"


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.let_go.set()


@pytest.fixture
def worker(held: Held) -> Iterator[Worker]:
    """A worker that may let three wait; closed after the held job was let go."""
    made = Worker(most=3)
    yield made
    held.let_go.set()
    made.close()


def test_a_job_is_done_and_its_result_given(worker: Worker):
    assert worker.submit("a", lambda: 7).result(LONG) == 7


def test_jobs_are_done_one_at_a_time_in_their_order(worker: Worker, held: Held):
    first, done, threads = worker.submit("a", held), [], set()

    def job(name: str) -> None:
        done.append(name)
        threads.add(threading.get_ident())

    assert held.started.wait(LONG)
    rest = [worker.submit(name, lambda name=name: job(name)) for name in "bcd"]
    assert done == []
    held.let_go.set()
    for future in (first, *rest):
        future.result(LONG)
    assert done == ["b", "c", "d"]
    assert len(threads) == 1


def test_what_a_job_raises_comes_back_and_the_worker_lives_on(worker: Worker):
    with pytest.raises(ZeroDivisionError):
        worker.submit("a", lambda: 1 // 0).result(LONG)
    assert worker.submit("a", lambda: 2).result(LONG) == 2


def test_a_newer_job_replaces_one_that_waits_and_takes_its_place(worker: Worker, held: Held):
    worker.submit("other", held)
    assert held.started.wait(LONG)
    done: list[str] = []
    old = worker.submit("a", lambda: done.append("old"))
    between = worker.submit("b", lambda: done.append("between"))
    new = worker.submit("a", lambda: done.append("new"))
    with pytest.raises(Superseded, match="newer one"):
        old.result(LONG)
    held.let_go.set()
    between.result(LONG)
    new.result(LONG)
    assert done == ["new", "between"]


def test_the_result_of_one_at_work_is_dropped_for_a_newer_one(worker: Worker, held: Held):
    old = worker.submit("a", held)
    assert held.started.wait(LONG)
    new = worker.submit("a", lambda: "new")
    with pytest.raises(Superseded):
        old.result(LONG)
    assert not new.done()
    held.let_go.set()
    assert new.result(LONG) == "new"


def test_a_long_job_ends_between_its_steps_once_it_does_not_count(worker: Worker, held: Held):
    steps: list[int] = []

    def long() -> None:
        for step in range(3):
            worker.go_on()
            steps.append(step)
            held()

    old = worker.submit("a", long)
    assert held.started.wait(LONG)
    new = worker.submit("a", lambda: list(steps))
    held.let_go.set()
    with pytest.raises(Superseded):
        old.result(LONG)
    assert new.result(LONG) == [0]


def test_a_long_job_that_counts_goes_on_to_its_end(worker: Worker, held: Held):
    held.let_go.set()
    worker.go_on()  # also where no job is at work
    assert worker.submit("a", lambda: [worker.go_on() for _ in range(3)]).result(LONG) == [None] * 3
    first = worker.submit("a", lambda: [held(), worker.go_on()])
    other = worker.submit("b", lambda: worker.go_on())
    assert (first.result(LONG), other.result(LONG)) == (["held", None], None)


def test_jobs_whose_visitor_left_end_or_are_not_begun(worker: Worker, held: Held):
    done: list[str] = []

    def long() -> None:
        held()
        worker.go_on()
        done.append("long")

    async def visit() -> str:
        at_work = asyncio.create_task(worker.run("", long))
        await asyncio.to_thread(held.started.wait, LONG)
        waiting = asyncio.create_task(worker.run("", lambda: done.append("waiting")))
        await asyncio.sleep(0)
        for task in (at_work, waiting):
            task.cancel()
        await asyncio.wait({at_work, waiting})
        assert at_work.cancelled()
        assert waiting.cancelled()
        held.let_go.set()
        return await worker.run("", lambda: "next")

    assert asyncio.run(visit()) == "next"
    assert done == []


def test_jobs_without_a_key_replace_nothing(worker: Worker, held: Held):
    worker.submit("", held)
    assert held.started.wait(LONG)
    waiting = [worker.submit("", lambda n=n: n) for n in range(3)]
    held.let_go.set()
    assert [future.result(LONG) for future in waiting] == [0, 1, 2]


def test_no_more_wait_than_may_and_one_that_replaces_is_no_more(worker: Worker, held: Held):
    worker.submit("first", held)
    assert held.started.wait(LONG)
    for key in "abc":
        worker.submit(key, lambda: None)
    with pytest.raises(Busy, match=r"for which 3 wait - allowed: 3 that wait - next step: try again in a few seconds"):
        worker.submit("d", lambda: None)
    again = worker.submit("b", lambda: "again")
    held.let_go.set()
    assert again.result(LONG) == "again"
    assert worker.submit("d", lambda: "now").result(LONG) == "now"


def test_what_nobody_waits_for_any_more_is_not_done(worker: Worker, held: Held):
    worker.submit("first", held)
    assert held.started.wait(LONG)
    done: list[str] = []
    assert worker.submit("a", lambda: done.append("a")).cancel()
    held.let_go.set()
    worker.submit("b", lambda: done.append("b")).result(LONG)
    assert done == ["b"]


def test_the_event_loop_goes_on_while_a_job_is_at_work(worker: Worker, held: Held):
    async def visit() -> tuple[str, str]:
        at_work = asyncio.create_task(worker.run("a", held))
        await asyncio.to_thread(held.started.wait, LONG)
        assert not at_work.done()
        held.let_go.set()  # only reached because the loop is free
        return await at_work, await worker.run("a", lambda: "next")

    assert asyncio.run(visit()) == ("held", "next")


def test_a_closed_worker_drops_what_waits_and_takes_no_more(held: Held):
    worker = Worker()
    at_work = worker.submit("first", held)
    assert held.started.wait(LONG)
    waiting = worker.submit("a", lambda: None)
    closing = threading.Thread(target=worker.close)
    closing.start()
    with pytest.raises(PixelwardError):
        waiting.result(LONG)
    with pytest.raises(Busy):
        worker.submit("b", lambda: None)
    held.let_go.set()
    closing.join(LONG)
    assert at_work.result(LONG) == "held"


def test_closing_does_not_wait_for_a_job_without_end(held: Held):
    worker = Worker()
    at_work = worker.submit("first", held)
    assert held.started.wait(LONG)
    closing = threading.Thread(target=worker.close)
    closing.start()
    closing.join(LONG)
    assert not closing.is_alive()
    with pytest.raises(Superseded):
        at_work.result(LONG)
