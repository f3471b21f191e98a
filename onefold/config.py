"""Settings of a project: `onefold.toml`, with environment overrides `ONEFOLD_SECTION__KEY`.

    [project]
    name = "shop"              # names the registry's project
    features = "features"      # folder of the definitions
    state = ".onefold"         # all that Onefold keeps

    [online]
    url = ""                   # of a Redis, as "redis://host:6379/0"; docs/redis.md. "" is the embedded store
    username = ""              # of Redis; the password is best said as ONEFOLD_ONLINE__PASSWORD
    tls_ca = ""                # files of TLS (rediss://), below the project unless absolute; also tls_cert, tls_key
    timeout = "5 seconds"      # without an answer, after which a connection is given up
    retry_for = "5 seconds"    # how long connecting and reading are tried again
    expire = true              # whether Redis drops strings that no window reaches any more
    path = "online"            # of the embedded store: below the state folder, unless absolute
    map_size = "256 MiB"       # of the embedded store to begin with; it doubles when it is full
    reach = "0 seconds"        # how far before stream time a lookup may ask, beyond the longest window

    [registry]
    url = ""                   # as "postgresql://user@host/db" or "file:registry.pb"; "" is SQLite in the state folder

    [serve]                    # docs/api.md
    host = "127.0.0.1"
    port = 8750
    workers = 1                # processes that share the port
    require_keys = false       # API keys are asked for on another host than this machine's own; true: here too
    tls_cert = ""              # files in PEM, below the project unless absolute; also tls_key
    max_body = "4 MiB"         # of a request
    max_rows = 5000            # rows or keys of a request
    max_features = 1000        # features that a request may list
    time_limit = "10 seconds"  # for a request, store and all; then 504
    wait_limit = "1 second"    # for its turn; then 503
    at_once = 256              # requests that one worker answers at once; then 503
    connections = 2000         # of one worker
    rate = 1000.0              # requests a second and API key; then 429. 0: any number
    burst = 2.0                # seconds' worth of them that may come at once
    watch = "1 second"         # between two looks at definitions, models and keys that have changed; 0: on SIGHUP
    drain = "0 seconds"        # at the end, while /ready already says no
    access_log = false         # a line of JSON a request on standard output
    traces = false             # OpenTelemetry, as its own variables say (OTEL_EXPORTER_OTLP_ENDPOINT, ..)

    [stream]
    batch = 10000              # events of a feed in a micro-batch, at most
    archive_every = 200000     # events between two commits to the archive, at most
    archive_within = "5 seconds"   # and how long an event waits for one, at most
    patience = "2 minutes"     # how long the store or the archive may be out of reach before a worker gives up

    [kafka]                    # for sources with a topic; docs/kafka.md
    bootstrap = "localhost:9092"   # brokers, with commas between
    group = ""                 # consumer group; "" is the project's name
    options = {}               # of kafka-python, as {security_protocol = "SASL_SSL", sasl_mechanism = "PLAIN"}
    patience = "60 seconds"    # how long brokers, or a schema registry, may be out of reach before a worker gives up
    schema_registry = ""       # URL, for Avro and Protobuf whose schemas are there
    schema_registry_user = ""  # for basic authentication, with schema_registry_password
    schema_registry_token = "" # for bearer authentication
    dead_letters = "topic"     # of a topic, to <topic>.dlq; or "files", as those of files

    [spark]                    # for `--engine spark`; docs/spark.md
    master = "local[*]"        # where it runs, as "spark://host:7077", "yarn" or "k8s://https://host:443"
    packages = ""              # Maven coordinates that it is to load, with commas between
    conf = {}                  # its own settings, as {"spark.executor.memory" = "8g"}
    scratch = ""               # folder that every executor reaches, for spines and results; "" is this machine's own

An override has two underscores between section and key: `ONEFOLD_SERVE__PORT=9000`, and again below a key that is a
table: `ONEFOLD_KAFKA__OPTIONS__SASL_PLAIN_PASSWORD=...`. Secrets belong there, not into the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from onefold.features.errors import ConfigError, DefinitionError, nearest

if TYPE_CHECKING:
    from onefold.online.redis_options import RedisOptions
    from onefold.registry.place import Place
    from onefold.serving.run import ServeSettings as ServerSettings

FILE = "onefold.toml"
PREFIX = "ONEFOLD_"
_SIZE = re.compile(r"(\d+)\s*([KMGT]i?B|B)?", re.IGNORECASE)
_SECRET = ("url", "password")
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}


def _size(value: object) -> object:
    """Bytes of a size: a whole number, or text such as "16 GiB" (powers of 1024) or "16 GB" (of 1000)."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError("write a size as bytes, or as '16 GiB'")
    number, unit = int(match[1]), (match[2] or "B").upper()
    return number * (1024 if "I" in unit else 1000) ** _POWERS.get(unit[0], 0)


Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]


def _length(value: str) -> str:
    """A length of time, checked here and read where it is used."""
    from onefold.features.windows import duration

    try:
        duration(value)
    except DefinitionError as error:
        raise ValueError(str(error)) from None
    return value


def _seconds(length: str) -> float:
    from onefold.features.windows import duration

    return duration(length) / 1_000_000


Length = Annotated[str, AfterValidator(_length)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProjectSettings(_Section):
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    features: str = "features"
    state: str = ".onefold"


class OnlineSettings(_Section):
    url: str = Field(default="", repr=False)
    username: str = ""
    password: str = Field(default="", repr=False)
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_check_hostname: bool = True
    timeout: Length = "5 seconds"
    retry_for: Length = "5 seconds"
    expire: bool = True
    path: str = "online"
    map_size: Size = 256 * 1024**2
    reach: Length = "0 seconds"


class RegistrySettings(_Section):
    url: str = Field(default="", repr=False)


class ServeSettings(_Section):
    host: str = "127.0.0.1"
    port: int = Field(default=8750, ge=1, le=65535)
    workers: int = Field(default=1, ge=1, le=256)
    require_keys: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    max_body: Size = 4 * 1024**2
    max_rows: int = Field(default=5_000, ge=1)
    max_features: int = Field(default=1_000, ge=1)
    time_limit: Length = "10 seconds"
    wait_limit: Length = "1 second"
    at_once: int = Field(default=256, ge=1)
    connections: int = Field(default=2_000, ge=1)
    rate: float = Field(default=1_000.0, ge=0)
    burst: float = Field(default=2.0, gt=0)
    watch: Length = "1 second"
    drain: Length = "0 seconds"
    access_log: bool = False
    traces: bool = False


class StreamSettings(_Section):
    batch: int = Field(default=10_000, ge=1)
    archive_every: int = Field(default=200_000, ge=1)
    archive_within: Length = "5 seconds"
    patience: Length = "2 minutes"


class KafkaSettings(_Section):
    bootstrap: str = Field(default="localhost:9092", pattern=r"^[^\s,]+(,[^\s,]+)*$")
    group: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$")
    options: dict[str, Any] = Field(default_factory=dict, repr=False)
    patience: Length = "60 seconds"
    schema_registry: str = Field(default="", pattern=r"^(https?://\S+)?$")
    schema_registry_user: str = ""
    schema_registry_password: str = Field(default="", repr=False)
    schema_registry_token: str = Field(default="", repr=False)
    dead_letters: Literal["files", "topic"] = "topic"


class SparkSettings(_Section):
    master: str = "local[*]"
    packages: str = ""
    conf: dict[str, str] = Field(default_factory=dict)
    scratch: str = ""


class Settings(BaseSettings):
    """All settings of one project, with paths resolved against its folder.

    >>> Settings.load(Path("shop")).archive        # doctest: +SKIP
    PosixPath('/home/me/shop/.onefold/archive')
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__")

    project: ProjectSettings
    online: OnlineSettings = OnlineSettings()
    registry: RegistrySettings = RegistrySettings()
    serve: ServeSettings = ServeSettings()
    stream: StreamSettings = StreamSettings()
    kafka: KafkaSettings = KafkaSettings()
    spark: SparkSettings = SparkSettings()
    _root: Path = PrivateAttr(default_factory=Path.cwd)

    @classmethod
    def load(cls, folder: Path | str | None = None) -> Settings:
        """Read the project in `folder`, or else the nearest one at or above the working directory.

        Raises ConfigError where there is none, or where a key or value is not right.
        """
        root = find_project(folder)
        file = root / FILE
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} is not TOML: {error}") from error
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
        _check_keys(data, where=str(file))
        _check_keys(_overrides(os.environ), where="the environment", spell=_as_variable)
        try:
            settings = cls(**data)
        except ValidationError as error:
            raise ConfigError(_explain(error, file)) from error
        settings._root = root
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file."""
        return env_settings, init_settings

    @property
    def root(self) -> Path:
        """The project's folder, absolute."""
        return self._root

    @property
    def features(self) -> Path:
        return self._root / self.project.features

    @property
    def state(self) -> Path:
        return self._root / self.project.state

    @property
    def archive(self) -> Path:
        return self.state / "archive"

    @property
    def online_path(self) -> Path:
        return self.state / self.online.path

    @property
    def online_store(self) -> Path | RedisOptions:
        """Where the online store is: a folder, or the Redis of [online] url. Raises ConfigError for a wrong URL."""
        from onefold.online.redis_options import RedisOptions

        given = self.online
        if not given.url:
            return self.online_path
        return RedisOptions.named(given, below=self._root)

    @property
    def server(self) -> ServerSettings:
        """What the server takes, from [serve] and the folders."""
        from onefold.serving.limits import Limits
        from onefold.serving.run import ServeSettings as ServerSettings

        given = self.serve
        limits = Limits(
            body=given.max_body, rows=given.max_rows, features=given.max_features, seconds=_seconds(given.time_limit),
            waiting=_seconds(given.wait_limit), at_once=given.at_once, connections=given.connections,
            rate=given.rate, burst=given.burst,
        )  # fmt: skip
        return ServerSettings(
            definitions=self.features, online=self.online_store, models=self.models, served=self.served,
            keys=self.keys, host=given.host, port=given.port, workers=given.workers,
            require_keys=given.require_keys, tls_cert=self._file(given.tls_cert), tls_key=self._file(given.tls_key),
            limits=limits, watch=_seconds(given.watch), drain=_seconds(given.drain),
            access_log=given.access_log, traces=given.traces,
        )  # fmt: skip

    def _file(self, path: str) -> Path | None:
        return self._root / path if path else None

    @property
    def keys(self) -> Path:
        """The file of API keys."""
        return self.state / "keys.json"

    @property
    def archive_within(self) -> float:
        """[stream] archive_within, in seconds."""
        return _seconds(self.stream.archive_within)

    @property
    def kafka_patience(self) -> float:
        """[kafka] patience, in seconds."""
        return _seconds(self.kafka.patience)

    @property
    def patience(self) -> float:
        """[stream] patience, in seconds."""
        return _seconds(self.stream.patience)

    @property
    def reach(self) -> int:
        """[online] reach, in microseconds."""
        from onefold.features.windows import duration

        return duration(self.online.reach)

    @property
    def dead_letters(self) -> Path:
        return self.state / "dead-letters"

    @property
    def registry_place(self) -> Place:
        """Where the registry is; relative paths are below the project. Raises ConfigError for a wrong URL."""
        from onefold.registry.place import Place

        return Place.of(self.registry.url or self.state / "registry.db", below=self._root)

    @property
    def models(self) -> Path:
        return self.state / "models"

    @property
    def training(self) -> Path:
        """Training sets, one folder each."""
        return self.state / "training"

    @property
    def served(self) -> Path:
        return self.state / "served"


def find_project(folder: Path | str | None = None) -> Path:
    """The folder that holds `onefold.toml`: the one given, or the nearest at or above the working directory."""
    if folder is not None:
        root = Path(folder).resolve()
        if not (root / FILE).is_file():
            raise ConfigError(f"{root} holds no {FILE}; give a project's folder, or make one with `onefold init NAME`")
        return root
    here = Path.cwd()
    for root in (here, *here.parents):
        if (root / FILE).is_file():
            return root
    raise ConfigError(
        f"no {FILE} in {here} or above it; go into a project, name it with --project DIR, "
        "or make one with `onefold init NAME`"
    )


def _sections() -> dict[str, set[str]]:
    known = {}
    for name, field in Settings.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        model = next(k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel))
        known[name] = set(model.model_fields)
    return known


def _as_key(section: str, key: str | None = None) -> str:
    return f"section [{section}]" if key is None else f"key {key!r} in [{section}]"


def _as_variable(section: str, key: str | None = None) -> str:
    return f"section of {PREFIX}{section.upper()}__..." if key is None else f"{PREFIX}{section}__{key}".upper()


def _check_keys(data: Mapping[str, Any], *, where: str, spell: Any = _as_key) -> None:
    known = _sections()
    for section, values in data.items():
        if section not in known:
            raise ConfigError(f"{where}: {spell(section)} is not known{nearest(section, known)}")
        if not isinstance(values, Mapping):
            raise ConfigError(f"{where}: {section!r} must be a section, as [{section}], and is {values!r}")
        for key in values:
            if key not in known[section]:
                raise ConfigError(f"{where}: {spell(section, key)} is not known{nearest(key, known[section])}")


def _overrides(environ: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Variables `ONEFOLD_A__B`; a name without `__` is none of ours to judge."""
    found: dict[str, dict[str, str]] = {}
    for name, value in environ.items():
        section, dots, key = name.removeprefix(PREFIX).partition("__")
        if name.startswith(PREFIX) and dots:
            found.setdefault(section.lower(), {})[key.lower().partition("__")[0]] = value
    return found


def _explain(error: ValidationError, file: Path) -> str:
    return "; ".join(_explain_one(str(file), e["loc"], e["msg"], e.get("input")) for e in error.errors())


def _explain_one(file: str, loc: Iterable[int | str], message: str, found: object) -> str:
    path = [str(part) for part in loc]
    variable = PREFIX + "__".join(path).upper()
    place = variable if variable in os.environ else f"{file}: {'.'.join(path)}"
    if path[-1] in _SECRET:
        return f"{place}: {message.removeprefix('Value error, ')}"
    if message == "Field required":
        return f"{place} is missing; " + ('add [project] with name = "..."' if path[0] == "project" else "add it")
    return f"{place} is {found!r}: {message.removeprefix('Value error, ')}"
