"""Score: one answer over HTTP beside a Starlette echo, and in the process beside a bare call of ONNX Runtime.

make bench NAME=score
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import numpy as np
import orjson
from _flights import data_of, requests_after
from _harness import Arm, Options, Report, Samples, Spread, clocked, frozen, interleave, main, quantile, tell
from _http import ECHO, Connection, Server, closed_loop, connected, onefold_serve, post, processor, running
from _http import memory as memory_of
from _project import live_until, train_model, with_past

from onefold.examples.flights.model import SERVICE
from onefold.features.clock import now_micros
from onefold.online.lookup import Lookup
from onefold.online.opening import open_store
from onefold.serving.answers import Answers
from onefold.serving.catalog import Catalog
from onefold.serving.messages import Answer, Request
from onefold.serving.metrics import Metrics
from onefold.serving.run import ServeSettings, load_catalog
from onefold.wiring import Workspace

PATH = f"/v1/score/{SERVICE}"
CONNECTIONS = 8
NAMES = {"onefold": "onefold serve", "no_log": "onefold serve --no-log", "echo": "Starlette echo"}


def measure(report: Report, options: Options) -> None:
    data = data_of(options)
    space = with_past(options.scratch / "project", data)
    train_model(space, data, rounds=options.pick(300, 20))
    live_until(space, data)
    bodies = _bodies(space, requests_after(data, options.pick(3_000, 200)))
    _starts(report, space, rounds=options.pick(5, 2))
    _over_http(report, space, bodies, options)
    _in_process(report, space, bodies[1], calls=options.pick(1_000, 50))


def _bodies(space: Workspace, rows: Sequence[Mapping[str, Any]]) -> dict[int, list[bytes]]:
    """Bodies of one row, and of 100 rows."""
    plan = space.project.service(SERVICE)
    names = [f.name for f in (*plan.keys, *plan.request)]
    asked = [{n: row[n] for n in names} | {"event_timestamp": row["event_timestamp"]} for row in rows]
    hundreds = [asked[i : i + 100] for i in range(0, len(asked) - 99, 100)]
    return {1: [orjson.dumps({"row": a}) for a in asked], 100: [orjson.dumps({"rows": h}) for h in hundreds]}


def _starts(report: Report, space: Workspace, *, rounds: int) -> None:
    """From the start of the process to the line that says where it answers; memory at that point."""
    tell(f"{rounds} starts of each server")
    memory: dict[str, list[float]] = {"onefold": [], "echo": []}

    def start(name: str, command: Sequence[str], _: int) -> float:
        with running(command) as server:
            memory[name].append(memory_of(server.answering()))
            return server.seconds

    commands: dict[str, Sequence[str]] = {"onefold": onefold_serve(space.settings.root), "echo": ECHO}
    samples = interleave({n: partial(start, n, c) for n, c in commands.items()}, rounds=rounds)
    report.table(
        f"from start to ready, {rounds} starts; median (quartiles)",
        ("", "seconds", "times the echo", "resident, MB"),
        [(NAMES[n], samples.of(n), samples.ratio(n, "echo"), round(quantile(memory[n], 0.5))) for n in commands],
    )
    report.figure("start.seconds", samples.of("onefold").median, "s")
    report.figure("start.ratio_to_echo", samples.ratio("onefold", "echo").median)
    report.figure("start.memory", quantile(memory["onefold"], 0.5), "MB")


def _over_http(report: Report, space: Workspace, bodies: Mapping[int, list[bytes]], options: Options) -> None:
    commands = {
        "onefold": onefold_serve(space.settings.root),
        "no_log": onefold_serve(space.settings.root, log=False),
        "echo": ECHO,
    }
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(command)) for name, command in commands.items()}
        for rows, calls, blocks in ((1, options.pick(1_500, 50), 5), (100, options.pick(60, 5), 3)):
            requests = _requests(servers["onefold"], bodies[rows])
            _latency(report, servers, requests, rows, calls)
            _throughput(report, servers, requests, rows, options.pick(calls, 16), options.pick(blocks, 1))
        memory = {name: memory_of(server.answering()) for name, server in servers.items()}
    report.table(
        "resident memory after all this", ("", "MB"), [(NAMES[name], round(used)) for name, used in memory.items()]
    )
    report.figure("after.memory", memory["onefold"], "MB")


def _requests(server: Server, bodies: Sequence[bytes]) -> dict[str, Callable[[int], bytes]]:
    """Request i for each server. The echo is sent the same body, and answers with as many bytes as a score has."""
    with connected(server, 1) as (connection,):
        size = len(connection.ask(post(PATH, bodies[0])))
    scores = [post(PATH, body) for body in bodies]
    echoes = [post(f"/echo/{size}", body) for body in bodies]
    score = lambda i: scores[i % len(scores)]  # noqa: E731
    return {"onefold": score, "no_log": score, "echo": lambda i: echoes[i % len(echoes)]}


def _latency(
    report: Report, servers: Mapping[str, Server], requests: Mapping[str, Callable[[int], bytes]], rows: int, calls: int
) -> None:
    tell(f"{calls:,} calls of {rows} rows to each server, in turn")
    with ExitStack() as stack:
        arms: dict[str, Arm] = {}
        for name, server in servers.items():
            (connection,) = stack.enter_context(connected(server, 1))
            arms[name] = clocked(partial(_ask, connection, requests[name]))
        samples = interleave(arms, rounds=calls, warmup=min(calls, 200))
    report.table(
        f"{rows} row{'s' * (rows > 1)} a request ({len(requests['onefold'](0)):,} bytes), one connection; "
        f"{calls:,} requests in turn",
        ("", "p50, µs", "p99, µs", "times the echo"),
        [
            (NAMES[n], samples.of(n).median * 1e6, samples.at(n, 0.99) * 1e6, samples.ratio(n, "echo"))
            for n in samples.seconds
        ],
    )
    _latency_figures(report, f"http.{rows}x38", samples)


def _ask(connection: Connection, request: Callable[[int], bytes], number: int) -> None:
    connection.ask(request(number))


def _latency_figures(report: Report, key: str, samples: Samples) -> None:
    report.figure(f"{key}.p50", samples.of("onefold").median * 1e6, "µs")
    report.figure(f"{key}.p99", samples.at("onefold", 0.99) * 1e6, "µs")
    report.figure(f"{key}.echo_p50", samples.of("echo").median * 1e6, "µs")
    report.figure(f"{key}.ratio_to_echo", samples.ratio("onefold", "echo").median)
    report.figure(f"{key}.no_log_ratio_to_echo", samples.ratio("no_log", "echo").median)


def _throughput(
    report: Report,
    servers: Mapping[str, Server],
    requests: Mapping[str, Callable[[int], bytes]],
    rows: int,
    count: int,
    blocks: int,
) -> None:
    tell(f"{blocks} blocks of {count:,} requests of {rows} rows over {CONNECTIONS} connections")
    used: dict[str, list[float]] = {name: [] for name in servers}
    arms = {name: partial(_block, server, requests[name], count, used[name]) for name, server in servers.items()}
    samples = interleave(arms, rounds=blocks)
    work = {name: Spread.of(seconds).median / count for name, seconds in used.items()}
    report.table(
        f"{rows} row{'s' * (rows > 1)} a request, {CONNECTIONS} connections; {blocks} blocks of {count:,}, in turn",
        ("", "requests/s", "of the echo's", "the server's processor time, µs a request"),
        [(NAMES[n], round(count / samples.of(n).median), samples.ratio("echo", n), work[n] * 1e6) for n in arms],
    )
    key = f"http.{rows}x38"
    report.figure(f"{key}.requests_per_second", count / samples.of("onefold").median, "requests/s")
    report.figure(f"{key}.throughput_of_echo", samples.ratio("echo", "onefold").median)
    report.figure(f"{key}.server_processor_time", work["onefold"] * 1e6, "µs")


def _block(server: Server, request: Callable[[int], bytes], count: int, used: list[float], _: int) -> float:
    """New connections for each block: a server closes those that ask for nothing for five seconds."""
    with connected(server, CONNECTIONS) as connections:
        pids = server.answering()
        before = processor(pids)
        took = closed_loop(connections, request, count)
        used.append(processor(pids) - before)
        return took


def _in_process(report: Report, space: Workspace, bodies: Sequence[bytes], *, calls: int) -> None:
    tell(f"{calls:,} scores in this process")
    settings = ServeSettings.of(space.settings.root)
    with closing(open_store(settings.online, readonly=True)) as store:
        catalog = load_catalog(settings, store)
        arms = _inner_arms(catalog, bodies[:calls])
        with frozen():
            samples = interleave({n: clocked(way) for n, way in arms.items()}, rounds=calls, warmup=min(calls, 100))
    report.table(
        f"one row in this process, inmost first; {calls:,} calls in turn",
        ("", "p50, µs", "p99, µs", "times bare ONNX Runtime"),
        [
            (n, samples.of(n).median * 1e6, samples.at(n, 0.99) * 1e6, samples.ratio(n, "bare ONNX Runtime"))
            for n in arms
        ],
    )
    bare, score, lookup, answer = arms
    report.figure("in_process.onnxruntime_p50", samples.of(bare).median * 1e6, "µs")
    report.figure("in_process.model_ratio_to_onnxruntime", samples.ratio(score, bare).median)
    report.figure("in_process.answer_p50", samples.of(answer).median * 1e6, "µs")
    report.figure("in_process.answer_p99", samples.at(answer, 0.99) * 1e6, "µs")
    report.figure("in_process.answer_ratio_to_onnxruntime", samples.ratio(answer, bare).median)
    report.figure("in_process.lookup_share", samples.ratio(lookup, answer).median)
    report.figure("in_process.model_share", samples.ratio(score, answer).median)


def _inner_arms(catalog: Catalog, bodies: Sequence[bytes]) -> dict[str, Callable[[int], object]]:
    """The steps of an answer without HTTP and without a log, on the same rows."""
    found = catalog.model(SERVICE)
    answers = Answers(catalog, log=None, metrics=Metrics())
    parsed = [found.service.rows.read([orjson.loads(b)["row"]], now_micros, limit=1) for b in bodies]
    lookup = Lookup(catalog.store, found.service.plan)
    values = [lookup.read(*p)[0].values for p in parsed]
    vectors = [np.array([[np.nan if v is None else v for v in row]], dtype=np.float32) for row in values]
    session = found.model.session
    requests = [Request(PATH, body) for body in bodies]
    return {
        "bare ONNX Runtime": lambda i: session.run(["score"], {"features": vectors[i % len(vectors)]}),
        "Model.score: values to score": lambda i: found.model.score([values[i % len(values)]]),
        "Lookup.read": lambda i: lookup.read(*parsed[i % len(parsed)]),
        "Answers.score: body to body": lambda i: _finished(answers.score(requests[i % len(requests)])),
    }


def _finished(answer: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer of a handler that has nothing to wait for, as of the embedded store."""
    try:
        answer.send(None)
    except StopIteration as end:
        found: Answer = end.value
        return found
    raise RuntimeError("the handler waits for something")


if __name__ == "__main__":
    main("score", measure)
