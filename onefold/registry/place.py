"""Where a registry is: a SQL database or a file, read from a URL. Its label has no password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from onefold.features.errors import ConfigError

SQLITE, POSTGRESQL, FILE = "sqlite", "postgresql", "file"
_EXAMPLES = "write postgresql://user@host/database, sqlite:///registry.db or file:registry.pb"


@dataclass(frozen=True, slots=True)
class Place:
    """A registry's place.

    kind: SQLITE, POSTGRESQL or FILE. url: how Feast is told of it. path: of the file, None for PostgreSQL.
    """

    kind: str
    url: str
    path: Path | None = None

    @classmethod
    def of(cls, url: str | Path, *, below: Path | None = None) -> Place:
        """The place that a URL names, or a SQLite file's path; relative paths are `below` a folder. ConfigError.

        >>> Place.of("file:registry.pb", below=Path("/srv/shop"))
        Place(kind='file', url='/srv/shop/registry.pb', path=PosixPath('/srv/shop/registry.pb'))
        """
        if isinstance(url, Path):
            return cls(SQLITE, f"sqlite:///{url}", url)
        scheme, colon, rest = url.partition(":")
        if scheme in ("postgresql", "postgres", "postgresql+psycopg") and rest.startswith("//"):
            return cls(POSTGRESQL, f"postgresql+psycopg:{rest}")
        slashes = {SQLITE: "///", FILE: "//"}.get(scheme)
        if slashes is None or not colon:
            raise ConfigError(f"the registry's URL begins with {url.partition('/')[0]!r}; {_EXAMPLES}")
        name = rest.removeprefix(slashes)
        if not name:
            raise ConfigError(f"the registry's URL names no file; {_EXAMPLES}")
        path = (below or Path.cwd()) / name
        return cls(scheme, f"sqlite:///{path}" if scheme == SQLITE else str(path), path)

    @property
    def plain_url(self) -> str:
        """The URL as the driver of PostgreSQL takes it."""
        return self.url.replace("+psycopg", "", 1)

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        parts = urlsplit(self.url)
        return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"
