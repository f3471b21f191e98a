"""The two ends of the served log, over a real socket in one process: what is handed on, kept, dropped and counted."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from onefold.features.errors import StoreError
from onefold.offline.served import ServedBlock, ServedInputs, ServedLog
from onefold.online.served_row import Place
from onefold.serving.log_frames import DONE, FAILED, Frame, Message, Unpacker, apart, block_of
from onefold.serving.log_keeper import LogKeeper, Writer
from onefold.serving.log_writer import LogWriter
from onefold.serving.metrics import Metrics
from tests.services.served_log import keeping, logging_to

from .processes import eventually

if TYPE_CHECKING:
    from .conftest import World


class Sink:
    """Keeps what it gets; `gate` holds it up, `faults` are raised first."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        self.faults: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.marks: dict[tuple[str, str], int] = {}

    def append(self, inputs: ServedInputs, blocks: Sequence[ServedBlock], /, *, marks: Mapping[str, int]) -> None:
        self.entered.set()
        assert self.gate.wait(10)
        if self.faults:
            raise self.faults.pop(0)
        self.batches.append((inputs.service, [i for block in blocks for i in block.request_ids]))
        self.marks |= {(inputs.service, writer): number for writer, number in marks.items()}

    def mark(self, inputs: ServedInputs, writer: str, /) -> int:
        return self.marks.get((inputs.service, writer), -1)

    @property
    def ids(self) -> list[str]:
        return [i for _, ids in self.batches for i in ids]


def block(*ids: str, value: Any = 7) -> ServedBlock:
    """Rows that were asked for and served nothing."""
    count = len(ids)
    rows = [{"customer_id": value}] * count
    return ServedBlock(
        1, None, None, ids, [1] * count, rows, [None] * count, ([""], [0] * count), [], None, ["no"] * count
    )


def value(metrics: Metrics, name: str) -> float:
    metrics.refresh()
    found = metrics.registry.get_sample_value(f"onefold_served_log_{name}")
    assert found is not None
    return found


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def serve(address: str, metrics: Metrics, work: Callable[[LogWriter], None], **options: Any) -> LogWriter:
    """A writer in an event loop, as a server has it; `work` is done in a thread beside it. It is closed behind."""
    log = LogWriter(address, metrics=metrics, **options)

    async def run() -> None:
        log.start()
        await asyncio.to_thread(work, log)
        await asyncio.to_thread(log.close)

    asyncio.run(run())
    return log


def offered(log: LogWriter, world: World, *blocks: ServedBlock, service: str = "returns") -> None:
    """Offer blocks from a thread beside the loop."""

    async def offer() -> None:
        for found in blocks:
            log.offer(world.project.service(service), found)

    assert log._loop is not None
    asyncio.run_coroutine_threadsafe(offer(), log._loop).result()


def test_close_writes_all_that_waits(world: World, sink: Sink, metrics: Metrics) -> None:
    with keeping(lambda: sink) as address:
        log = LogWriter(address, metrics=metrics)
        log.offer(world.plan, block("a", "b"))
        log.offer(world.plan, block("c"))
        assert value(metrics, "queue") == 3
        log.close()
    assert sink.batches == [("returns", ["a", "b", "c"])]
    assert [value(metrics, name) for name in ("queue", "rows_total", "dropped_total", "errors_total")] == [0, 3, 0, 0]


@pytest.mark.parametrize("options", [{"batch": 2}, {"interval": 0.01}])
def test_rows_are_written_while_more_come(world: World, sink: Sink, metrics: Metrics, options: dict[str, Any]) -> None:
    def work(log: LogWriter) -> None:
        offered(log, world, block("a", "b"))
        assert sink.entered.wait(10)

    with keeping(lambda: sink, **options) as address:
        serve(address, metrics, work)
    assert sink.ids == ["a", "b"]


def test_what_does_not_fit_is_dropped_and_counted(world: World, sink: Sink, metrics: Metrics) -> None:
    def work(log: LogWriter) -> None:
        sink.gate.clear()
        offered(log, world, block("a"))
        assert sink.entered.wait(10)
        offered(log, world, block("b", "c"), block("d", "e"), block("f"))
        assert log.waiting == 4
        sink.gate.set()

    with keeping(lambda: sink, batch=1) as address:
        serve(address, metrics, work, capacity=4)
    assert sink.ids == ["a", "b", "c", "f"]
    assert value(metrics, "dropped_total") == 2


def test_a_disk_that_is_full_for_a_while_loses_nothing(world: World, sink: Sink, metrics: Metrics) -> None:
    sink.faults = [StoreError("the disk is full")] * 2

    def work(log: LogWriter) -> None:
        offered(log, world, block("a", "b"))
        offered(log, world, block("c"), service="everything")
        eventually(lambda: "the disk is full" in log.state)
        eventually(lambda: not log.waiting)
        assert log.state == "ok"

    with keeping(lambda: sink, interval=0.05) as address:
        serve(address, metrics, work)
    assert sorted(sink.ids) == ["a", "b", "c"]
    assert value(metrics, "errors_total") == 2


def test_rows_that_are_wrong_do_not_hold_up_the_rest(world: World, sink: Sink, metrics: Metrics) -> None:
    keeper = LogKeeper(lambda: sink, batch=10, interval=1.0)
    told: list[Message] = []
    writer = Writer("w", told.append, {0: ServedInputs.of(world.plan)})
    for number, name in enumerate("abc", 1):
        keeper.take(writer, number, *parts_of(block(name)))
    sink.faults = [TypeError("all of them"), TypeError("the first")]
    keeper.flush()
    assert sink.ids == ["b", "c"]
    assert told == [(DONE, 1, 1), (DONE, 2, 0), (DONE, 3, 0)]


def parts_of(*blocks: ServedBlock, table: int = 0) -> tuple[Any, Any]:
    """What a frame of blocks of one table is told by."""
    frame = Frame()
    for found in blocks:
        frame.add(table, found)
    ((_, _, index, data),) = Unpacker().feed(b"".join(frame.message(1)))
    return index, data


def test_a_frame_that_comes_twice_is_written_once(world: World, metrics: Metrics) -> None:
    """To the same log; and to the next one, where the log before ended between writing it and saying so."""
    root, told = world.folder / "served", list[Message]()
    frames = [parts_of(block("a", "b")), parts_of(block("c"))]
    for _ in range(2):
        keeper = LogKeeper(lambda: ServedLog(root), batch=10, interval=1.0)
        writer = Writer("w", told.append, {0: ServedInputs.of(world.plan)})
        for frame in (*enumerate(frames, 1), *enumerate(frames, 1)):
            keeper.take(writer, frame[0], *frame[1])
        keeper.flush()
        keeper.take(writer, 2, *frames[1])
        keeper.flush()
    keeper.take(writer, 3, *parts_of(block("d")))
    keeper.flush()
    table = ServedLog(root).read("returns", world.plan.fingerprint)
    assert sorted(table["request_id"].to_pylist()) == ["a", "b", "c", "d"]
    assert told == [(DONE, 1, 0), (DONE, 2, 0), (DONE, 2, 0)] * 2 + [(DONE, 3, 0)]


def test_a_table_that_cannot_be_written_holds_up_no_other(world: World, sink: Sink) -> None:
    keeper, told = LogKeeper(lambda: sink, batch=1, interval=1.0), list[Message]()
    tables = {n: ServedInputs.of(world.project.service(name)) for n, name in enumerate(("returns", "everything"))}
    writer = Writer("w", told.append, tables)
    for number, table in enumerate((0, 1, 0), 1):
        keeper.take(writer, number, *parts_of(block("a"), table=table))
    sink.faults = [StoreError("no room")]
    keeper.flush()
    assert sink.batches == [("everything", ["a"])]
    assert told == [(DONE, 2, 0), (FAILED, 1, "no room")]
    keeper.flush()
    assert told[2:] == [(DONE, 1, 0), (DONE, 3, 0)]


def test_tries_are_further_and_further_apart(world: World, sink: Sink) -> None:
    now = [0.0]
    keeper = LogKeeper(lambda: sink, batch=1, interval=2.0, clock=lambda: now[0])
    writer = Writer("w", lambda _: None, {0: ServedInputs.of(world.plan)})
    keeper.take(writer, 1, *parts_of(block("a")))
    assert keeper.due == 0.0
    sink.faults = [StoreError("the disk is full")] * 6
    dues: list[float] = []
    for _ in range(6):
        now[0] = keeper.due
        keeper.flush()
        keeper.take(writer, len(dues) + 2, *parts_of(block("b")))
        dues.append(keeper.due - now[0])
    assert dues == [4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_what_is_left_at_the_end_is_counted_as_dropped(world: World, sink: Sink, metrics: Metrics) -> None:
    sink.faults = [StoreError("the disk is full")] * 9
    with keeping(lambda: sink) as address:
        log = LogWriter(address, metrics=metrics)
        log.offer(world.plan, block("a", "b"))
        log.close()
    assert (value(metrics, "dropped_total"), value(metrics, "errors_total")) == (2, 1)
    log.offer(world.plan, block("c"))
    assert value(metrics, "dropped_total") == 3


def test_a_log_that_is_not_there_is_counted_as_dropped(world: World, metrics: Metrics) -> None:
    log = LogWriter(str(world.folder / "nobody"), metrics=metrics)
    log.offer(world.plan, block("a"))
    log.close(timeout=0.1)
    assert value(metrics, "dropped_total") == 1
    assert "does not answer" in log.state


def test_a_sink_that_cannot_be_opened_is_tried_again(world: World, sink: Sink, metrics: Metrics) -> None:
    tries: list[Sink | Exception] = [OSError(errno.ENOENT, "no such folder"), sink]

    def open_sink() -> Sink:
        found = tries.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def work(log: LogWriter) -> None:
        offered(log, world, block("a"))
        assert sink.entered.wait(10)

    with keeping(open_sink, interval=0.01) as address:
        serve(address, metrics, work)
    assert sink.ids == ["a"]
    assert value(metrics, "errors_total") == 1


def test_what_a_log_had_not_written_is_sent_to_the_next(world: World, sink: Sink, metrics: Metrics) -> None:
    """At the same address: the first takes a frame and ends without a word."""
    import socket

    path = str(world.folder / "log")

    async def run() -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()
            listening.setblocking(False)
            log.start()
            loop = asyncio.get_running_loop()
            first, _ = await loop.sock_accept(listening)
            log.offer(world.plan, block("a"))
            assert await loop.sock_recv(first, 1)
            first.close()
            second, _ = await loop.sock_accept(listening)
            log.offer(world.plan, block("b"))
            received, kinds = Unpacker(), list[Message]()
            while len(kinds) < 4:
                kinds += list(received.feed(await loop.sock_recv(second, 65_536)))
            numbers = [message[1] for message in kinds]
            assert numbers == [log._name, 0, 1, 2]
            second.close()

    log = LogWriter(path, metrics=metrics)
    with suppress(FileNotFoundError):
        asyncio.run(run())
    assert log.waiting == 2


def test_a_block_comes_out_of_a_frame_as_it_went_in() -> None:
    place = Place("orders", "customer", 1, "abcd", {0: 5})
    plain, wide = (1.5, None, True, -(2**63), "é", (1, None), float("inf")), (10**30, (-(10**37), None))
    blocks = [
        ServedBlock(
            5, "late", "2", ["a", "b"], [1, 2], [{"k": 1}, {"k": None}], [values, None],
            (["fresh stale", ""], [0, 1]), [([place], [0, 0], ({0: 1}, {}))], [0.5, float("-inf")], None,
        )
        for values in (plain, wide)
    ]  # fmt: skip
    frame = Frame()
    for found in blocks:
        frame.add(3, found)
    ((_, number, index, data),) = Unpacker().feed(b"".join(frame.message(9)))
    came = list(apart(index, data))
    assert (number, frame.rows, [(table, rows) for table, rows, _ in came]) == (9, 4, [(3, 2), (3, 2)])
    assert [listed(block_of(text)) for _, _, text in came] == list(map(listed, blocks))


def test_what_cannot_be_told_leaves_a_frame_as_it_was() -> None:
    frame = Frame()
    frame.add(0, block("a"))
    before = b"".join(frame.message(1))
    with pytest.raises(TypeError):
        frame.add(0, block("b", value=object()))
    assert b"".join(frame.message(1)) == before


def listed(value: Any) -> Any:
    """The same with lists for tuples."""
    return [listed(item) for item in value] if isinstance(value, list | tuple) else value


def test_messages_come_in_any_pieces() -> None:
    frame = Frame()
    frame.add(0, block("a"))
    data = b"".join([*frame.message(1), *frame.message(2)])
    received = Unpacker()
    assert [m[1] for i in range(len(data)) for m in received.feed(data[i : i + 1])] == [1, 2]


def test_the_real_log_holds_what_was_offered(world: World, metrics: Metrics) -> None:
    root = world.folder / "served"
    with logging_to(root, metrics) as log:
        log.offer(world.plan, block("a", "b"))
    table = ServedLog(root).read("returns", world.plan.fingerprint)
    assert table["request_id"].to_pylist() == ["a", "b"]
