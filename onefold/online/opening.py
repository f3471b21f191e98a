"""Opening the online store of a project: the embedded one of a folder, or a Redis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from onefold.features.errors import ConfigError
from onefold.features.protocols import OnlineStore

if TYPE_CHECKING:
    from onefold.online.redis_options import RedisOptions

MAP_SIZE = 1 << 28


class OpenStore(OnlineStore, Protocol):
    """A store that whoever opened it closes."""

    def memory(self, names: Sequence[bytes]) -> list[int]:
        """Bytes that each string takes with its name, as the store counts them; 0 where there is none."""

    def flush(self) -> None:
        """Return when what was written is on disk, where that is this process's to say."""

    def close(self) -> None:
        """Give up what it holds; a second close does nothing."""


def open_store(place: Path | RedisOptions, *, readonly: bool = False, map_size: int = MAP_SIZE) -> OpenStore:
    """The store at a place. readonly: for lookups.

    map_size: of the embedded store, in bytes to begin with. StoreError where it cannot be opened, ConfigError where
    the library that drives Redis is missing.
    """
    if isinstance(place, Path):
        from onefold.online.lmdb_store import LmdbStore

        return LmdbStore(place, readonly=readonly, map_size=map_size)
    return _open_redis(place, readonly=readonly)


def _open_redis(options: RedisOptions, *, readonly: bool) -> OpenStore:
    try:
        from onefold.online.redis_cluster import RedisClusterStore
        from onefold.online.redis_store import RedisStore
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"[online] url asks for Redis, which needs the library {error.name}; try: pip install 'onefold[redis]'"
        ) from error
    return (RedisClusterStore if options.cluster else RedisStore)(options, readonly=readonly)
