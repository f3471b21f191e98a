"""`OnefoldOfflineStore`: the offline store that Feast loads by its class path."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from feast.infra.offline_stores.file_source import FileLoggingDestination, FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel
from feast.utils import _get_requested_feature_views_to_features_dict, compute_non_entity_date_range

from onefold.features.errors import InputError
from onefold.offline.feast.job import OnefoldRetrievalJob, Query
from onefold.offline.feast.ours import is_ours
from onefold.offline.feast.plain import Wanted
from onefold.offline.feast.pulls import Pull
from onefold.offline.feast.retrieval import Historical, Session
from onefold.offline.feast.sources import append


class OnefoldOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast's types are not followed
    """`offline_store` in `feature_store.yaml`.

    memory_limit: of DuckDB, as "4GB"; what is more spills to temp_directory (the system's by default).
    staging_location: a folder or URI for `to_remote_storage`.
    """

    type: Literal["onefold.offline.feast.OnefoldOfflineStore", "onefold.offline.feast.store.OnefoldOfflineStore"] = (
        "onefold.offline.feast.OnefoldOfflineStore"
    )
    memory_limit: str | None = None
    temp_directory: str | None = None
    staging_location: str | None = None


class OnefoldOfflineStore(OfflineStore):  # type: ignore[misc]  # Feast's types are not followed
    """Files of Parquet and Delta behind Feast's API. No row of an entity dataframe is lost or doubled.

    Views that Onefold applied are computed by its engine, from the events of the archive; Feast's own views are joined
    as of each row's time. Times without a zone are UTC.
    """

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: Any,
        feature_views: list[Any],
        feature_refs: list[str],
        entity_df: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        *,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        filter_by_created_timestamp: bool = False,
    ) -> OnefoldRetrievalJob:
        """A job for the features of each row of `entity_df`: a frame, a DuckDB query, or None.

        A query may name files (relative to the repository) and the project's sources. None asks for every key that has
        a row from start_date to end_date, as of end_date. Rows keep their order.
        """
        requested = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        views, on_demand = _get_requested_feature_views_to_features_dict(feature_refs, feature_views, requested)
        between = compute_non_entity_date_range(feature_views, start_date, end_date) if entity_df is None else None
        query = Historical(
            session=session_of(config),
            entity_df=entity_df,
            views=[Wanted(view, tuple(dict.fromkeys(features))) for view, features in views.items()],
            on_demand=[Wanted(v, tuple(dict.fromkeys(f))) for v, f in on_demand.items() if is_ours(v)],
            registry=registry,
            project=project,
            between=between,
            full=full_feature_names,
            known=filter_by_created_timestamp,
        )
        return _job(
            config, Query(run=query.run, sql=query.sql),
            full_feature_names=full_feature_names,
            on_demand_feature_views=[v for v in requested if not is_ours(v)],
            metadata=cache(partial(_metadata, query, feature_refs)),
        )  # fmt: skip

    @staticmethod
    def pull_latest_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> OnefoldRetrievalJob:
        """A job for the newest row of each key from start_date to end_date."""
        pull = Pull(
            session=session_of(config), source=data_source, keys=join_key_columns, columns=feature_name_columns,
            time=timestamp_field, created=created_timestamp_column or None, start=start_date, end=end_date, latest=True,
        )  # fmt: skip
        return _job(config, Query(run=pull.run, sql=pull.sql))

    @staticmethod
    def pull_all_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> OnefoldRetrievalJob:
        """A job for all rows from start_date to end_date."""
        pull = Pull(
            session=session_of(config), source=data_source, keys=join_key_columns, columns=feature_name_columns,
            time=timestamp_field, created=created_timestamp_column or None, start=start_date, end=end_date,
            latest=False,
        )  # fmt: skip
        return _job(config, Query(run=pull.run, sql=pull.sql))

    @staticmethod
    def write_logged_features(
        config: Any, data: pa.Table | Path, source: Any, logging_config: Any, registry: Any
    ) -> None:
        """Add logged features to a folder of Parquet files; each call writes files of its own."""
        destination = logging_config.destination
        if not isinstance(destination, FileLoggingDestination):
            kind = type(destination).__name__
            raise InputError(f"logging goes to a {kind}; Onefold's offline store logs to FileLoggingDestination")
        rows = pq.read_table(data) if isinstance(data, Path) else data
        where = FileSource.get_uri_for_file_path(config.repo_path, destination.path)
        filesystem, path = FileSource.create_filesystem_and_path(str(where), destination.s3_endpoint_override)
        ds.write_dataset(
            rows, base_dir=path, filesystem=filesystem, format="parquet", partitioning=destination.partition_by,
            partitioning_flavor="hive" if destination.partition_by else None,
            basename_template=f"{uuid.uuid4().hex}-{{i}}.parquet", existing_data_behavior="overwrite_or_ignore",
        )  # fmt: skip

    @staticmethod
    def offline_write_batch(
        config: Any, feature_view: Any, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        """Add rows to the source of a view, in its columns (in any order) and types.

        Raises InputError for a view of Onefold's: its values are made of events, which `onefold stream` takes.
        """
        if is_ours(feature_view):
            raise InputError(
                f"view {feature_view.name!r} is computed from the events of source {feature_view.batch_source.name!r}: "
                "its values cannot be written; send events, through the topic or `onefold stream --feed`"
            )
        if feature_view.batch_source is None:
            raise InputError(f"view {feature_view.name!r} has no batch source to write to; give it one")
        append(feature_view.batch_source, table, config.repo_path)
        if progress is not None:
            progress(table.num_rows)


def session_of(config: Any) -> Session:
    """Where a query works, by what `feature_store.yaml` says."""
    given = config.offline_store
    return Session(
        repo=Path(config.repo_path) if config.repo_path else None,
        memory_limit=getattr(given, "memory_limit", None), temp_directory=getattr(given, "temp_directory", None),
    )  # fmt: skip


def _job(config: Any, query: Query, **said: Any) -> OnefoldRetrievalJob:
    staging = getattr(config.offline_store, "staging_location", None)
    return OnefoldRetrievalJob(
        query, repo=Path(config.repo_path) if config.repo_path else None, staging=staging, **said
    )


def _metadata(query: Historical, refs: list[str]) -> RetrievalMetadata:
    keys, (first, last) = query.first()
    return RetrievalMetadata(features=refs, keys=keys, min_event_timestamp=first, max_event_timestamp=last)
