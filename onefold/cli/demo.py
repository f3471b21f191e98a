"""`demo`: the whole way on real flights, and its figures."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefold.cli.console import FAILED, GOOD, JsonOption, note, say_json, say_next, say_table
from onefold.cli.proof import show as show_report
from onefold.cli.proof import status

if TYPE_CHECKING:
    from onefold.demo.faults import Fault
    from onefold.demo.replay import Living
    from onefold.demo.run import DemoResult


def demo(
    folder: Annotated[
        str, typer.Option(metavar="DIR", help="Where it works; an older demo there is replaced.")
    ] = ".demo",
    days: Annotated[int | None, typer.Option(help="Live through the first days of December only.", min=1)] = None,
    since: Annotated[
        int,
        typer.Option(metavar="MONTH", help="Train on months from this one on: quicker, a worse model.", min=1, max=9),
    ] = 1,
    inject: Annotated[
        str | None, typer.Option(metavar="FAULT", help="Do one thing wrong, for verify to find, as drop-event.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="December through Kafka and Redis, and two workers that get killed.")
    ] = False,
    kafka: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="A broker, for --live.")] = None,
    redis: Annotated[str | None, typer.Option(metavar="URL", help="A Redis, for --live; an empty one.")] = None,
    seed: Annotated[int, typer.Option(help="From which the moments of the kills follow, for --live.")] = 0,
    json: JsonOption = False,
) -> None:
    """The whole way on 336,776 flights, up to the proof. `make demo-live` starts what --live needs.

    Needs `pip install onefold[flights]`. Exits with 3 where the proof fails, and with 1 where requests did.
    """
    living = _live(kafka, redis, seed, inject) if live else _embedded(kafka, redis, inject)
    from onefold.demo import run_demo
    from onefold.progress import on_stderr

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its service must not outlive it, however it ends
    result = run_demo(Path(folder), progress=on_stderr(), living=living, days=days, since=since)
    if json:
        say_json(_json(result))
    else:
        _show(result)
    raise typer.Exit(status(result.report) or (FAILED if result.replayed.failures else GOOD))


def _live(kafka: str | None, redis: str | None, seed: int, inject: str | None) -> Living:
    if inject is not None:
        raise typer.BadParameter("faults are put in without --live", param_hint="--inject")
    if kafka is None or redis is None:
        raise typer.BadParameter(
            "name both, as --kafka localhost:9092 --redis redis://localhost:6379/0; make demo-live starts its own",
            param_hint="--kafka, --redis",
        )
    from onefold.demo.live import Live

    return Live(kafka, redis, seed=seed)


def _embedded(kafka: str | None, redis: str | None, inject: str | None) -> Living:
    if kafka is not None or redis is not None:
        raise typer.BadParameter("they go with --live", param_hint="--kafka, --redis")
    fault = None if inject is None else _fault(inject)
    from onefold.demo.embedded import Embedded

    return Embedded(fault)


def _fault(word: str) -> Fault:
    from onefold.demo.faults import Fault
    from onefold.features.errors import nearest

    known = [f.value for f in Fault]
    if word not in known:
        raise typer.BadParameter(f"{word!r} is no fault{nearest(word, known)}", param_hint="--inject")
    return Fault(word)


def _show(result: DemoResult) -> None:
    say_table(("figure", "value"), list(_figures(result)))
    for failure in result.replayed.failures[:5]:
        note(failure)
    for path in result.plots:
        note(f"plot: {path}")
    for command, why in _next(result):
        say_next(command, why)
    show_report(result.report)


def _next(result: DemoResult) -> Iterator[tuple[str, str]]:
    """Commands that work as they stand, in this order."""
    yield f"cd {result.folder}", "the demo is a project like any other"
    yield "onefold list", "what is defined, and what is applied"
    yield "onefold describe route_arrivals", "a view: its SQL, types, windows and state"
    if not result.replayed.kills:
        yield "onefold get origin_weather --key origin=JFK --at 2013-12-30T23:30:00Z", "values as of a time"
        yield "onefold serve", "the service; its models and features at /docs"
    yield "onefold verify", "the proof once more"
    yield "mlflow ui --backend-store-uri sqlite:///.onefold/mlflow.db", "the run, its plots and the registered model"


def _figures(result: DemoResult) -> Iterator[tuple[str, str]]:
    yield "AUC, October and November (evaluation)", f"{result.trained.auc:.4f}"
    yield "AUC, December, as served", f"{result.december_auc:.4f}"
    yield "requests answered", f"{len(result.replayed.seconds):,}"
    yield (
        "model",
        f"{result.trained.name} version {result.trained.version}, {len(result.trained.contract.inputs)} features",
    )
    yield "lookup in process, p50 / p99", _milliseconds(_tail(result.lookups))
    yield "score over HTTP, p50 / p99", _milliseconds(_tail(result.replayed.seconds))
    yield "training set", f"{_rate(result):,.0f} rows/s of {result.training_rows:,}"
    yield "events replayed", f"{result.replayed.events:,}"
    if result.replayed.kills:
        yield "workers killed", f"{result.replayed.kills}; {result.replayed.behind:,} requests did not wait for them"
    yield "late data", f"{result.report.late_rows:,} rows, {result.report.late_values:,} values"
    steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result.seconds.items())
    yield "seconds", f"{sum(result.seconds.values()):.1f} ({steps})"


def _tail(seconds: list[float]) -> tuple[float, float]:
    from onefold.demo.run import percentile

    return percentile(seconds, 0.5), percentile(seconds, 0.99)


def _milliseconds(values: tuple[float, ...]) -> str:
    return " / ".join(f"{x * 1e3:.2f} ms" for x in values)


def _rate(result: DemoResult) -> float:
    return float(result.training_rows / max(result.seconds["training set"], 1e-9))


def _json(result: DemoResult) -> dict[str, Any]:
    timed = {"lookup_seconds": result.lookups, "request_seconds": result.replayed.seconds}
    return {
        "folder": str(result.folder),
        "auc": {"evaluation": _finite(result.trained.auc), "december": _finite(result.december_auc)},
        "model": {"name": result.trained.name, "version": result.trained.version},
        "requests": len(result.replayed.seconds),
        "failures": result.replayed.failures,
        **{name: dict(zip(("p50", "p99"), map(_finite, _tail(s)), strict=True)) for name, s in timed.items()},
        "training_set": {"rows": result.training_rows, "rows_per_second": _rate(result)},
        "events": result.replayed.events,
        "kills": result.replayed.kills,
        "behind": result.replayed.behind,
        "seconds": result.seconds,
        "plots": [str(p) for p in result.plots],
        "verify": result.report.to_dict(),
    }


def _finite(value: float) -> float | None:
    """JSON has no NaN: what could not be measured is null."""
    return value if value == value else None
