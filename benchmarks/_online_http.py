"""The online path over HTTP: `onefold serve` beside a Starlette echo of the same body sizes, and beside `feast serve`.

One process answers of each server, on the first core; the client has the last. The process that writes the
served log may run on any core, but in one arm.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import orjson
from _harness import Options, Report, interleave, quantile, tell
from _http import (
    ECHO,
    HERE,
    Server,
    closed_loop,
    connected,
    free_port,
    loops,
    memory,
    onefold_serve,
    paced,
    post,
    processor,
    running,
)
from _online_model import with_trees

CONNECTIONS = 8
Used = tuple[float, float]
"""Seconds of processor time a request: of the processes that answer, and of the one that writes their log."""
NAMES = {
    "onefold": "onefold serve",
    "one_core": "onefold serve, its log on the same core",
    "no_log": "onefold serve --no-log",
    "echo": "Starlette echo",
    "feast": "feast serve",
    "loop": "a loop in the client, that asks nobody",
}
PIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execv(sys.argv[2], sys.argv[2:])"
TOML = """\
[project]
name = "bench"
[online]
url = "redis://127.0.0.1:{port}/0"
"""
FEAST = """\
project: bench
provider: local
registry: {folder}/registry.db
entity_key_serialization_version: 3
offline_store: {{type: file}}
online_store: {{type: redis, connection_string: "127.0.0.1:{port},db=1"}}
"""


FOR_EVER = ("--max-requests", "0", "--max-requests-jitter", "0")
"""Without these a worker of `feast serve` is replaced after 1,000 requests, in the midst of a run."""


def over_http(
    report: Report, options: Options, *, port: int, users: Sequence[str], refs: Sequence[str], at: str
) -> None:
    """port: of the Redis that has the state of `_online_definitions` and Feast's values; refs: Feast's features."""
    project = _project(options.scratch / "served", port)
    with_trees(project, "thirty", rounds=options.pick(200, 5))
    commands: dict[str, Sequence[str]] = {
        "onefold": onefold_serve(project), "one_core": onefold_serve(project),
        "no_log": onefold_serve(project, log=False), "echo": ECHO,
    }  # fmt: skip
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(_pinned(command))) for name, command in commands.items()}
        tell("feast serve")
        servers["feast"] = stack.enter_context(_feast(options.scratch, port))
        servers["onefold"].free_log()
        stack.enter_context(_last_core())
        for rows in (1, options.pick(100, 10)):
            bodies = _bodies(users, refs, at, rows, options.pick(1_000, 20))
            size = _closed(report, options, servers, bodies, rows)
            if rows == 1:
                _at_half_the_rate(report, options, servers, bodies, f"/echo/{size}")
                _scores(report, options, servers["onefold"], users, at)
        report.figure("http.memory", memory(servers["onefold"].answering()), "MB")
        report.figure("http.log_memory", memory(servers["onefold"].log()), "MB")


def _project(folder: Path, port: int) -> Path:
    (folder / "features").mkdir(parents=True)
    shutil.copy(HERE / "_online_definitions.py", folder / "features" / "definitions.py")
    (folder / "onefold.toml").write_text(TOML.format(port=port))
    return folder


def _pinned(command: Sequence[str]) -> Sequence[str]:
    """The same on the first core that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return command
    return (sys.executable, "-c", PIN, str(min(os.sched_getaffinity(0))), *command)


@contextmanager
def _last_core() -> Iterator[None]:
    """This process on the last core; all of them again at the end."""
    if not hasattr(os, "sched_getaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _feast(folder: Path, port: int) -> Iterator[Server]:
    """`feast serve` over the registry and the Redis that the SDK has filled."""
    repo = folder / "feast"
    repo.mkdir()
    (repo / "feature_store.yaml").write_text(FEAST.format(folder=folder, port=port))
    own, feast = free_port(), str(Path(sys.executable).with_name("feast"))
    command = (sys.executable, feast, "-c", str(repo), "serve", "--host", "127.0.0.1", "--port", str(own), *FOR_EVER)
    with running(_pinned((*command, "--no-access-log")), url=f"http://127.0.0.1:{own}", answers=_answers) as server:
        yield server


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1):
            return True
    except OSError:
        time.sleep(0.2)
        return False


def _bodies(users: Sequence[str], refs: Sequence[str], at: str, rows: int, count: int) -> dict[str, list[bytes]]:
    dice = random.Random(3)
    picked = [dice.sample(users, min(rows, len(users))) for _ in range(count)]
    ours = [orjson.dumps({"service": "all", "rows": [{"user": u} for u in some], "at": at}) for some in picked]
    theirs = [orjson.dumps({"features": refs, "entities": {"user": some}}) for some in picked]
    return {"onefold": ours, "one_core": ours, "no_log": ours, "echo": ours, "feast": theirs}


def _closed(
    report: Report, options: Options, servers: Mapping[str, Server], bodies: Mapping[str, list[bytes]], rows: int
) -> int:
    """Requests as fast as they are answered, a server after the other. How many bytes ours answered."""
    with connected(servers["onefold"], 1) as (one,):
        size = len(one.ask(post("/v1/lookup", bodies["onefold"][0])))
    paths = dict.fromkeys(bodies, "/v1/lookup") | {"echo": f"/echo/{size}", "feast": "/get-online-features"}
    count, blocks = options.pick(4_000 if rows == 1 else 400, 20), options.pick(9, 1)
    tell(f"{rows} rows a request: {blocks} blocks of {count:,}")
    used: dict[str, list[Used]] = {name: [] for name in servers}
    counts = {name: count if name != "feast" else max(count // 20, 10) for name in servers}

    def arm(name: str, number: int) -> float:
        requests = [post(paths[name], body) for body in bodies[name]]
        return _block(servers[name], lambda i: requests[i % len(requests)], counts[name], used[name])

    samples = interleave({name: partial(arm, name) for name in servers}, rounds=blocks, warmup=1)
    _table(report, samples.ratio, samples.of, used, counts, f"{rows} key(s) x 50 features, {size:,} bytes answered")
    factor = counts["onefold"] / counts["feast"]
    if rows == 1:
        report.headline("http_1x50_over_echo", samples.ratio("echo", "onefold").median)
    report.headline(f"http_{rows}x50_over_feast_serve", samples.ratio("feast", "onefold").median * factor)
    report.figure(f"http_{rows}x50.log_cost", _middle(used["onefold"], 0) / _middle(used["no_log"], 0))
    report.figure(f"http_{rows}x50.requests_per_second", count / samples.of("onefold").median, "requests/s")
    return size


def _table(report, ratio, of, used, counts, title) -> None:  # type: ignore[no-untyped-def]  # as its caller has them
    report.table(
        f"{title}; {CONNECTIONS} connections",
        ("", "requests/s", "of the echo's", "processor time, µs a request", "of its log, µs"),
        [
            (
                NAMES[n], round(counts[n] / of(n).median), ratio("echo", n).median * counts[n] / counts["echo"],
                _middle(used[n], 0) * 1e6, _middle(used[n], 1) * 1e6,
            )
            for n in used
        ],
    )  # fmt: skip


def _middle(used: Sequence[Used], which: int) -> float:
    return quantile([some[which] for some in used], 0.5)


def _block(server: Server, request: Callable[[int], bytes], count: int, used: list[Used]) -> float:
    """New connections for each block: a server closes those that ask for nothing for five seconds."""
    pids = server.answering(), server.log()
    with connected(server, CONNECTIONS) as connections:
        before = [processor(some) for some in pids]
        took = closed_loop(connections, request, count)
        answering, log = (processor(some) - spent for some, spent in zip(pids, before, strict=True))
        used.append((answering / count, log / count))
        return took


def _scores(report: Report, options: Options, server: Server, users: Sequence[str], at: str) -> None:
    """Scores of a model of 30 features, beside lookups of the same; one row a request."""
    rows = [{"user": user, "event_timestamp": at} for user in users]
    requests = {
        "lookup": [post("/v1/lookup", orjson.dumps({"service": "thirty", "rows": [row]})) for row in rows],
        "score": [post("/v1/score/trees", orjson.dumps({"row": row})) for row in rows],
    }
    count, used = options.pick(4_000, 20), {name: list[Used]() for name in requests}

    def arm(name: str, number: int) -> float:
        wanted = requests[name]
        return _block(server, lambda i: wanted[i % len(wanted)], count, used[name])

    samples = interleave({name: partial(arm, name) for name in requests}, rounds=options.pick(9, 1), warmup=1)
    report.table(
        f"One row of 30 features, and XGBoost of 200 trees; {CONNECTIONS} connections",
        ("", "requests/s", "processor time, µs a request"),
        [(name, round(count / samples.of(name).median), _middle(used[name], 0) * 1e6) for name in requests],
    )
    report.headline("score_over_lookup", samples.ratio("score", "lookup").median)


def _at_half_the_rate(
    report: Report, options: Options, servers: Mapping[str, Server], bodies: Mapping[str, Sequence[bytes]], echo: str
) -> None:
    """Requests at half of the highest rate, whether or not those before are answered: in rounds of 1,000, in turn with
    the echo and with a loop of 100 µs, which show what of it is the machine's."""
    paths = dict.fromkeys(("onefold", "one_core", "no_log"), "/v1/lookup") | {"echo": echo}
    ways = {name: [post(path, body) for body in bodies[name]] for name, path in paths.items()}
    count, waits = options.pick(1_000, 40), {name: list[list[float]]() for name in (*ways, "loop")}
    peaks = {name: _peak(servers[name], requests, 5 * count) for name, requests in ways.items()}
    for _ in range(options.pick(15, 2)):
        for name, requests in ways.items():
            with connected(servers[name], 4 * CONNECTIONS) as connections:
                ask = partial(_one_of, requests)
                waits[name].append(paced(connections, ask, count, rate=peaks[name] / 2))
        waits["loop"].append(loops(count, seconds=1e-4, rate=peaks["onefold"] / 2))
    found = {name: _tails(rounds) for name, rounds in waits.items()}
    report.table(
        f"One row a request at half of the highest rate; {4 * CONNECTIONS} connections, rounds of {count:,} requests",
        ("", "p50, µs", "p99 of a round, µs", "p99 over p50, median of the rounds", "p99 of all, µs"),
        [(NAMES[name], *some) for name, some in found.items()],
    )
    report.headline("p99_over_p50", found["onefold"][2])
    for name in ("echo", "loop"):
        report.figure(f"http_1x50.p99_over_p50.{name}", found[name][2])
    for name in ("onefold", "echo", "loop"):
        report.figure(f"http_1x50.p99_over_p50_of_all.{name}", found[name][3] / found[name][0])


def _one_of(requests: Sequence[bytes], number: int) -> bytes:
    return requests[number % len(requests)]


def _peak(server: Server, requests: Sequence[bytes], count: int) -> float:
    with connected(server, CONNECTIONS) as connections:
        return count / closed_loop(connections, partial(_one_of, requests), count)


def _tails(rounds: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """p50 and p99 of a round in µs, and how many times one the other is, each the median; p99 of all rounds as one."""
    middles, lates = ([quantile(waits, share) * 1e6 for waits in rounds] for share in (0.5, 0.99))
    ratios = [late / middle for late, middle in zip(lates, middles, strict=True)]
    whole = quantile([wait for waits in rounds for wait in waits], 0.99) * 1e6
    return quantile(middles, 0.5), quantile(lates, 0.5), quantile(ratios, 0.5), whole
