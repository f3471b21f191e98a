"""`training-set`, `train`, `serve`: from values to a model that answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefold.cli.console import EngineOption, JsonOption, ProjectOption, out, say_done, say_json, say_next, say_table

if TYPE_CHECKING:
    from onefold.training.dataset import TrainingSet
    from onefold.training.pipeline import TrainedModel


def training_set(
    service: Annotated[str, typer.Argument(help="The service whose features it holds.")],
    spine: Annotated[str, typer.Option(metavar="FILE", help="Parquet: keys, event_timestamp, request columns.")],
    out_folder: Annotated[
        str | None, typer.Option("--out", "-o", metavar="DIR", help="Where to write it. Default: the spine's name.")
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="The spine's column to learn.")] = None,
    engine: EngineOption = "duckdb",
    memory_limit: Annotated[
        str | None, typer.Option(metavar="SIZE", help="DuckDB's memory, as 4GB. Default: most of the machine's.")
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Write features as of the time of each row."""
    from onefold.progress import on_stderr, stages
    from onefold.training.dataset import build
    from onefold.wiring import Workspace

    workspace = Workspace.find(project)
    folder = Path(out_folder) if out_folder else Path(spine).with_suffix("")
    with stages(on_stderr(), "training set") as report:
        made = build(
            workspace.project, service, spine, archive=workspace.archive, out=folder, label=label,
            memory_limit=memory_limit, progress=report, spark=workspace.engine(engine),
        )  # fmt: skip
    if json:
        say_json(_set_json(made))
        return
    manifest = made.manifest
    say_done(
        f"{manifest.rows:,} rows x {len(manifest.inputs)} features in {made.path}, "
        f"content {manifest.content_hash[:16]}, service {manifest.fingerprint}"
    )
    say_next(f"onefold train {made.path}" + ("" if label else " --label COLUMN"), "train a model on it")


def train(
    folder: Annotated[str, typer.Argument(metavar="TRAINING_SET", help="The folder of a training set.")],
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help="Default: the service's.")] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="Default: the training set's.")] = None,
    cut: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Train before it, evaluate from it on. Default: before the last fifth."),
    ] = None,
    task: Annotated[str, typer.Option(help="binary or regression.")] = "binary",
    rounds: Annotated[int, typer.Option(help="Trees, at most.", min=1)] = 300,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    track: Annotated[bool, typer.Option(help="Record the run and the model in MLflow.")] = True,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Train a model, prove its ONNX form, make it current."""
    from onefold.progress import on_stderr, stages
    from onefold.training.dataset import TrainingSet
    from onefold.training.pipeline import train as run
    from onefold.training.tracking import Tracking
    from onefold.training.trainer import TrainParams
    from onefold.wiring import Workspace

    workspace = Workspace.find(project)
    given = TrainingSet.load(folder)
    params = TrainParams(task=_task(task), rounds=rounds, device=device)
    with stages(on_stderr(), "train") as report:
        trained = run(
            workspace.project,
            given.manifest.service,
            given,
            cut=cut or _last_fifth(given),
            models_dir=workspace.settings.models,
            label=label,
            name=model,
            params=params,
            tracking=Tracking.local(workspace.settings.state) if track else None,
            plots_dir=workspace.settings.models / (model or given.manifest.service) / "plots",
            progress=report,
        )
    if json:
        say_json(_model_json(trained))
    else:
        _show(trained)


def serve(
    host: Annotated[str | None, typer.Option(help="Default: [serve] host of onefold.toml.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: [serve] port of onefold.toml.", min=0, max=65535)] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port. Default: [serve].", min=1)] = None,
    log: Annotated[bool, typer.Option(help="Write down what is served, for `onefold verify`.")] = True,
    require_keys: Annotated[
        bool, typer.Option("--require-keys", help="Ask for API keys on this machine's own address too.")
    ] = False,
    allow_anonymous: Annotated[
        bool, typer.Option("--allow-anonymous", help="Ask for no API keys, whatever the address.")
    ] = False,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="A line of JSON a request on standard output.")
    ] = False,
    allow_refused: Annotated[
        bool, typer.Option("--allow-refused", help="Serve although a model does not fit; it then answers 503.")
    ] = False,
    project: ProjectOption = None,
) -> None:
    """Serve features and models over HTTP."""
    from dataclasses import replace

    from onefold.config import Settings
    from onefold.serving.run import serve as run

    given = Settings.load(project).server
    run(
        replace(
            given,
            served=given.served if log else None,
            host=host or given.host,
            port=given.port if port is None else port,
            workers=workers or given.workers,
            require_keys=require_keys or given.require_keys,
            allow_anonymous=allow_anonymous,
            access_log=access_log or given.access_log,
            allow_refused=allow_refused,
        )
    )


def _task(word: str) -> Any:
    if word not in ("binary", "regression"):
        raise typer.BadParameter(f"{word!r} is no task; known are: binary, regression", param_hint="--task")
    return word


def _last_fifth(given: TrainingSet) -> str:
    """The moment before which four fifths of the rows lie."""
    times = sorted(given.table()["event_timestamp"].to_pylist())
    return str(times[len(times) * 4 // 5].isoformat()) if times else "1970-01-01"


def _set_json(made: TrainingSet) -> dict[str, Any]:
    import json

    manifest: dict[str, Any] = json.loads(made.manifest.to_json())
    return {"path": str(made.path), "manifest": manifest}


def _model_json(trained: TrainedModel) -> dict[str, Any]:
    return {
        "model": trained.name,
        "version": trained.version,
        "service": trained.contract.service,
        "path": str(trained.folder),
        "device": trained.device,
        "metrics": {name: _finite(value) for name, value in trained.metrics.items()},
        "onnx_difference": trained.difference,
        "plots": {kind: str(path) for kind, path in trained.plots.items()},
        "run_id": trained.run_id,
        "seconds": dict(trained.seconds),
    }


def _finite(value: float) -> float | None:
    return value if value == value and abs(value) != float("inf") else None


def _show(trained: TrainedModel) -> None:
    known = {"train", "evaluation"}
    names = dict.fromkeys(n.partition("_")[2] for n in trained.metrics if n.partition("_")[0] in known)
    rows = [
        (name, *(_number(trained.metrics.get(f"{part}_{name}")) for part in ("train", "evaluation"))) for name in names
    ]
    say_table(("metric", "train", "evaluation"), rows)
    for kind, path in trained.plots.items():
        out().print(f"{kind}: {path}", style="dim", markup=False)
    say_done(
        f"model {trained.name} version {trained.version} in {trained.folder}; its ONNX scores differ from the "
        f"trainer's by at most {trained.difference:.1e}"
    )
    say_next("onefold serve", "score over HTTP")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 10 else f"{value:.4f}"
