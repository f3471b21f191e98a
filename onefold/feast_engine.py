"""Feast's compute engine: what `feast materialize` and `materialize-incremental` run.

    batch_engine:
        type: onefold.feast_engine.OnefoldComputeEngine
        engine: duckdb          # or spark
        project: /path/to/it    # the folder of onefold.toml; by default the nearest at or above the repository

Views of Onefold are not handed over value by value: the archive is brought up to date, and every state that is missing
or no longer whole is built, as `onefold materialize` does. Of Feast's own views the newest row of each key goes to the
online store.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from feast.infra.common.materialization_job import MaterializationJob, MaterializationJobStatus
from feast.infra.compute_engines.base import ComputeEngine
from feast.repo_config import FeastConfigBaseModel
from feast.utils import _convert_arrow_to_proto

from onefold.features.errors import ConfigError
from onefold.offline.feast.latest import Latest
from onefold.offline.feast.ours import is_ours
from onefold.offline.feast.store import session_of

if TYPE_CHECKING:
    from onefold.offline.feast.job import Rows
    from onefold.online.opening import OpenStore
    from onefold.wiring import Workspace

_FIRST = datetime(1, 1, 1, tzinfo=UTC)
BATCH = 10_000
"""Rows of a write to the online store, where `materialization.online_write_batch_size` says nothing."""


class OnefoldComputeEngineConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast's types are not followed
    """`batch_engine` in `feature_store.yaml`; see the module."""

    type: Literal["onefold.feast_engine.OnefoldComputeEngine"] = "onefold.feast_engine.OnefoldComputeEngine"
    engine: Literal["duckdb", "spark"] = "duckdb"
    project: str | None = None


@dataclass
class Done(MaterializationJob):  # type: ignore[misc]  # Feast's types are not followed
    """One view that was materialised, or why it was not."""

    name: str
    failure: BaseException | None = None

    def status(self) -> MaterializationJobStatus:
        return MaterializationJobStatus.SUCCEEDED if self.failure is None else MaterializationJobStatus.ERROR

    def error(self) -> BaseException | None:
        return self.failure

    def should_be_retried(self) -> bool:
        return False

    def job_id(self) -> str:
        return self.name

    def url(self) -> str | None:
        return None


class OnefoldComputeEngine(ComputeEngine):  # type: ignore[misc]  # Feast's types are not followed
    """Materialises views by DuckDB or by Spark. Spark is imported when it is first used."""

    def __init__(self, *, engine: str = "duckdb", project: str | None = None, type: str = "", **parts: Any) -> None:
        super().__init__(**parts)
        self._settings = OnefoldComputeEngineConfig(engine=engine, project=project)

    def update(self, *_: Any, **__: Any) -> None:
        """Nothing is to be made ready."""

    def teardown_infra(self, *_: Any, **__: Any) -> None:
        """Nothing is to be taken down: state and archive are the project's."""

    @property
    def supports_batch(self) -> bool:
        """All views come in one call, so that the states are built once."""
        return True

    def materialize(self, registry: Any, tasks: Any, **_: Any) -> list[Done]:
        """Materialise each task's view; a view that fails does not keep others from going on."""
        listed = list(tasks) if isinstance(tasks, Sequence) else [tasks]
        ours = [task for task in listed if is_ours(task.feature_view)]
        failure = self._attempt(self._build) if ours else None
        return [
            Done(t.feature_view.name, failure if is_ours(t.feature_view) else self._attempt(self._hand_over, t))
            for t in listed
        ]

    @staticmethod
    def _attempt(work: Any, *given: Any) -> BaseException | None:
        try:
            work(*given)
        except Exception as error:  # whatever a store raises is the job's outcome
            return error
        return None

    def _hand_over(self, task: Any) -> None:
        view, config = task.feature_view, self.repo_config
        size = config.materialization_config.online_write_batch_size or BATCH
        start, end = (_FIRST, datetime.now(UTC)) if task.disable_event_timestamp else (task.start_time, task.end_time)
        latest = Latest(session=session_of(config), view=view, start=start, end=end, batch=size)
        keys = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
        with self._rows(latest) as rows:
            for batch in rows.batches:
                for start in range(0, batch.num_rows, size):
                    values = _convert_arrow_to_proto(batch.slice(start, size), view, keys)
                    self.online_store.online_write_batch(config, view, values, None)

    def _rows(self, latest: Latest) -> AbstractContextManager[Rows]:
        if self._settings.engine == "duckdb":
            return latest.rows()
        from onefold.offline.feast.by_spark import newest_rows
        from onefold.offline.spark_session import SparkSettings

        given = None if self._root is None else self._workspace().engine("spark")
        return newest_rows(latest, given or SparkSettings())

    def _build(self) -> None:
        """Bring the archive up to date and build each state that needs it, of all that is applied."""
        from onefold.importing import import_sources
        from onefold.streaming.materialize import materialize

        workspace = self._workspace()
        applied = workspace.registry.project()
        import_sources(workspace, applied)
        with self._store(workspace) as store:
            materialize(
                applied, store=store, archive=workspace.archive, reach=workspace.settings.reach,
                spark=workspace.engine(self._settings.engine),
            )  # fmt: skip
            store.flush()

    def _store(self, workspace: Workspace) -> AbstractContextManager[OpenStore]:
        """The online store: the one that this process has open behind Feast, as an LMDB is opened once."""
        from onefold.online.feast import OnefoldOnlineStore
        from onefold.online.feast.opened import store_of

        if not isinstance(self.online_store, OnefoldOnlineStore):
            return workspace.store()
        config = self.repo_config
        return nullcontext(store_of(config.online_store, Path(config.repo_path) if config.repo_path else None))

    @property
    def _root(self) -> Path | None:
        """The folder of onefold.toml; None where there is none."""
        if self._settings.project is not None:
            return Path(self._settings.project)
        here = Path(self.repo_config.repo_path or ".").resolve()
        return next((folder for folder in (here, *here.parents) if (folder / "onefold.toml").is_file()), None)

    def _workspace(self) -> Workspace:
        from onefold.wiring import Workspace

        if self._root is None:
            raise ConfigError(
                f"views of Onefold are materialised from its archive, and there is no onefold.toml at or above "
                f"{self.repo_config.repo_path}; say where the project is: `project:` below `batch_engine`"
            )
        return Workspace.find(self._root)
