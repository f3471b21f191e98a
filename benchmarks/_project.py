"""The example's project with an archive, a state as of a moment, and a model: what a service would find."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq
from _flights import MOMENT
from _harness import tell

import onefold.examples.flights as example
from onefold.config import Settings
from onefold.examples.flights import model as flights
from onefold.examples.flights.data import SOURCES, FlightsData
from onefold.features.protocols import EventFeed, OnlineStore
from onefold.features.values import parse_timestamp
from onefold.streaming.feeds import FixedGroup, QueueFeed
from onefold.streaming.materialize import materialize
from onefold.streaming.worker import ARCHIVE_EVERY, Worker
from onefold.training.dataset import build
from onefold.training.pipeline import train
from onefold.wiring import Workspace

FEED = "december"


def with_past(folder: Path, data: FlightsData) -> Workspace:
    """The example's project in a new folder: events to 30 November in its archive and in its state."""
    here = Path(example.__file__).parent
    folder.mkdir(parents=True)
    shutil.copy(here / "onefold.toml", folder)
    shutil.copytree(here / "features", folder / "features", ignore=shutil.ignore_patterns("__pycache__"))
    space = Workspace(Settings.load(folder))
    tell("importing January to November")
    for name, source in space.project.sources.items():
        space.archive.import_files(source, [data.past[name]])
    tell("building the state")
    with space.store() as store:
        materialize(space.project, store=store, archive=space.archive)
    return space


def copy_of(space: Workspace, folder: Path) -> Workspace:
    """The same project, archive and state in a folder of its own."""
    return Workspace(Settings.load(Path(shutil.copytree(space.settings.root, folder))))


def worker_for(
    space: Workspace, store: OnlineStore, feeds: Sequence[EventFeed], *, archive_every: int = ARCHIVE_EVERY
) -> Worker:
    return Worker(
        space.project, store=store, archive=space.archive, feeds=FixedGroup(feeds), dead_letters=space.dead_letters,
        archive_every=archive_every,
    )  # fmt: skip


def live_until(space: Workspace, data: FlightsData, moment: datetime = MOMENT) -> None:
    """Stream December up to a moment into the state, hour by hour, as a worker would have: tails behind the heads."""
    tell(f"streaming December up to {moment:%d %B %H:%M} UTC")
    feeds = {name: QueueFeed(name, name=FEED) for name in SOURCES}
    with space.store() as store:
        worker = worker_for(space, store, list(feeds.values()))
        for hour in _hours(data, moment):
            for name, lines in hour.items():
                feeds[name].extend(lines)
            while worker.step().records:
                pass
        worker.flush()


def _hours(data: FlightsData, moment: datetime) -> Iterator[dict[str, list[bytes]]]:
    """The lines of each source, an hour of event time after the other."""
    hours: dict[int, dict[str, list[bytes]]] = {}
    last = round(moment.timestamp() * 1_000_000)
    for name, column in SOURCES.items():
        for line in data.feeds[name].read_bytes().splitlines():
            time = parse_timestamp(orjson.loads(line)[column])
            if time is not None and time <= last:
                hours.setdefault(time // 3_600_000_000, {}).setdefault(name, []).append(line)
    yield from (hours[hour] for hour in sorted(hours))


def train_model(space: Workspace, data: FlightsData, *, rounds: int) -> None:
    """The example's model, in the project's `models`."""
    tell("building a training set")
    rows = pq.read_table(data.requests)
    past = rows.filter(pc.and_(pc.less(rows["month"], 12), pc.is_valid(rows[flights.LABEL])))
    out = space.settings.training / flights.SERVICE
    made = build(space.project, flights.SERVICE, past, archive=space.archive, out=out, label=flights.LABEL)
    tell(f"training {rounds} trees")
    train(
        space.project, flights.SERVICE, made, cut=flights.CUT, params=replace(flights.PARAMS, rounds=rounds),
        models_dir=space.settings.models,
    )  # fmt: skip
