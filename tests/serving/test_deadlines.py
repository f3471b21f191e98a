from __future__ import annotations

import asyncio
import os

from onefold.serving.deadlines import Deadlines
from onefold.serving.ids import request_id, request_ids


async def limited(deadlines: Deadlines, until: asyncio.Event) -> str:
    task = deadlines.begin()
    try:
        await until.wait()
        return "done"
    except asyncio.CancelledError:
        if deadlines.end(task):
            return "late"
        raise
    finally:
        deadlines.end(task)


def test_each_has_its_time_and_what_is_done_is_left_alone() -> None:
    async def go() -> list[str]:
        deadlines, never, soon = Deadlines(0.02), asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(limited(deadlines, event)) for event in (never, soon, never)]
        await asyncio.sleep(0)
        soon.set()
        first = await asyncio.gather(*tasks)
        later = await asyncio.create_task(limited(deadlines, never))
        return [*first, later]

    assert asyncio.run(go()) == ["late", "done", "late", "late"]


def test_a_task_that_somebody_else_cancels_is_cancelled() -> None:
    async def go() -> tuple[bool, bool]:
        deadlines, never = Deadlines(60), asyncio.Event()
        task = asyncio.create_task(limited(deadlines, never))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        return task.cancelled(), bool(asyncio.current_task())

    assert asyncio.run(go()) == (True, True)


def test_another_loop_has_deadlines_of_its_own() -> None:
    deadlines = Deadlines(0.01)
    for _ in range(2):
        assert asyncio.run(limited(deadlines, asyncio.Event())) == "late"


def test_names_of_requests_are_never_given_twice() -> None:
    names = [request_id() for _ in range(1_000)] + request_ids(1) + request_ids(300)
    assert len(set(names)) == 1_301
    assert {len(name) for name in names} == {32}


def test_a_child_draws_names_of_its_own() -> None:
    request_id()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, request_id().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 32).decode() not in [request_id() for _ in range(500)]
    os.close(read)
    os.close(write)
