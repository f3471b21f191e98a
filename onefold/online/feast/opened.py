"""Stores that are open in this process, each once: an LMDB folder cannot be opened twice."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

from onefold.features.errors import ConfigError
from onefold.online.opening import MAP_SIZE, OpenStore, open_store
from onefold.online.redis_options import RedisOptions

_lock = Lock()
_open: dict[Path | RedisOptions, OpenStore] = {}


def store_of(config: Any, below: Path | None) -> OpenStore:
    """The store that a Feast configuration names; relative paths are `below` its repository."""
    place = _place(config, below)
    with _lock:
        if place not in _open:
            _open[place] = open_store(place, map_size=config.map_size or MAP_SIZE)
        return _open[place]


def close_stores() -> None:
    """Close all of them; the next use opens them again."""
    with _lock:
        while _open:
            _open.popitem()[1].close()


def _place(config: Any, below: Path | None) -> Path | RedisOptions:
    if config.url:
        if config.path:
            raise ConfigError(f"online_store names both path ({config.path}) and url; leave one out")
        return RedisOptions.named(config, below=below or Path.cwd())
    return ((below or Path.cwd()) / (config.path or "data/online")).absolute()
