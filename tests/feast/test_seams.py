"""Where we hold on to Feast: what a new release could move. A failure here says which file of ours to look at."""

from __future__ import annotations

import inspect
from importlib import metadata
from typing import Any

import pytest

PINNED = "0.67."


def signature(thing: Any) -> list[str]:
    return list(inspect.signature(thing).parameters)


def test_feast_is_the_release_that_this_was_written_for() -> None:
    assert metadata.version("feast").startswith(PINNED)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("online_write_batch", "self config table data progress"),
        ("online_write_batch_async", "self config table data progress"),
        ("online_read", "self config table entity_keys requested_features"),
        ("online_read_async", "self config table entity_keys requested_features"),
        ("get_online_features", "self config features entity_rows registry project full_feature_names "
                                "include_feature_view_version_metadata"),
        ("get_online_features_async", "self config features entity_rows registry project full_feature_names "
                                      "include_feature_view_version_metadata"),
        ("update", "self config tables_to_delete tables_to_keep entities_to_delete entities_to_keep partial"),
        ("teardown", "self config tables entities"),
        ("initialize", "self config"),
        ("_read_features_per_fv", "self config grouped_refs join_key_values entity_name_to_join_key_map "
                                  "online_features_response full_feature_names include_feature_view_version_metadata"),
    ],
)  # fmt: skip
def test_the_online_store_is_called_so(name: str, parameters: str) -> None:
    """`onefold.online.feast.store` overrides these."""
    from feast.infra.online_stores.online_store import OnlineStore

    from onefold.online.feast import OnefoldOnlineStore

    assert signature(getattr(OnlineStore, name)) == parameters.split()
    assert signature(getattr(OnefoldOnlineStore, name)) == parameters.split()


def test_the_online_store_overrides_all_that_it_must() -> None:
    from feast.infra.online_stores.online_store import OnlineStore

    from onefold.online.feast import OnefoldOnlineStore

    assert set(OnlineStore.__abstractmethods__) == {"online_write_batch", "online_read", "update", "teardown"}
    assert OnefoldOnlineStore._versioned_read_supported and OnlineStore._versioned_read_supported is None


def test_a_request_is_resolved_so() -> None:
    """`onefold.online.feast.requests` takes these nine apart, and relies on the same object for the same request."""
    from feast import utils

    assert signature(utils._get_cached_request_context) == ["registry", "project", "features", "full_feature_names"]
    body = inspect.getsource(utils._get_cached_request_context)
    order = ("feature_refs,", "requested_on_demand_feature_views,", "entity_name_to_join_key_map,", "entity_type_map,",
             "join_keys_set | odfv_join_keys,", "grouped_refs,", "frozenset(requested_result_row_names),",
             "needed_request_data,", "entityless_case,")  # fmt: skip
    result = body[body.index("result = (") :]
    places = [result.index(name) for name in order]
    assert places == sorted(places)
    assert utils._parse_feature_ref("view@v2:feature") == ("view", 2, "feature")


def test_an_answer_is_read_so() -> None:
    """`onefold.online.feast.answer` is one."""
    from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse

    assert signature(OnlineResponse.to_dict) == ["self", "include_event_timestamps"]
    assert TIMESTAMP_POSTFIX == "__ts"


def test_keys_are_serialized_so() -> None:
    """`onefold.online.feast.entity_keys` writes the same bytes without a message."""
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.value_type import ValueType

    from onefold.online.feast.entity_keys import KeyNames

    given = {
        "b": (ValueType.INT64, -7, Value(int64_val=-7)), "a": (ValueType.STRING, "ü", Value(string_val="ü")),
        "c": (ValueType.INT32, 9, Value(int32_val=9)), "d": (ValueType.BYTES, b"\x00", Value(bytes_val=b"\x00")),
    }  # fmt: skip
    for some in (["b"], ["a"], ["d"], ["b", "a"], [*given]):
        names = KeyNames(b"", some, [given[k][0] for k in some])
        (found,) = names.of([[given[k][1]] for k in names.join_keys])
        key = EntityKey(join_keys=some, entity_values=[given[k][2] for k in some])
        assert found == serialize_entity_key(key, entity_key_serialization_version=3)
        (by_message,) = names.of([[given[k][2]] for k in names.join_keys])
        assert by_message == found
        assert names.of([[None] for _ in names.join_keys]) == [None]


def test_every_kind_of_value_is_known() -> None:
    """`onefold.online.feast.kinds` stores what it has no plain form for as a message."""
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.value_type import ValueType

    from onefold.online.feast.kinds import BY_FIELD, field_of

    assert set(BY_FIELD) == {f.name for f in Value.DESCRIPTOR.fields}
    unknown = [v.name for v in ValueType if field_of(v) == "null_val"]
    assert set(unknown) <= {"UNKNOWN", "NULL", "IMAGE_BYTES", "PDF_BYTES", "VALUE_LIST", "VALUE_SET"}


def test_the_tables_of_a_sql_registry_are_these() -> None:
    """`onefold.registry.feast_writing` writes them."""
    from feast.infra.registry import sql

    columns = {name: {c.name for c in getattr(sql, name).columns} for name in (
        "projects", "entities", "data_sources", "feature_views", "on_demand_feature_views", "feature_services",
        "feature_view_version_history",
    )}  # fmt: skip
    usual = {"project_id", "last_updated_timestamp"}
    assert columns == {
        "projects": usual | {"project_name", "project_proto"},
        "entities": usual | {"entity_name", "entity_proto"},
        "data_sources": usual | {"data_source_name", "data_source_proto"},
        "feature_views": usual
        | {"feature_view_name", "feature_view_proto", "materialized_intervals", "user_metadata"},
        "on_demand_feature_views": usual | {"feature_view_name", "feature_view_proto", "user_metadata"},
        "feature_services": usual | {"feature_service_name", "feature_service_proto"},
        "feature_view_version_history": {
            "feature_view_name", "project_id", "version_number", "feature_view_type", "feature_view_proto",
            "created_timestamp", "description", "version_id",
        },
    }  # fmt: skip
    assert signature(sql.SqlRegistry._set_last_updated_metadata) == ["self", "last_updated", "project", "conn"]


def test_a_function_is_read_from_its_text_before_its_bytes() -> None:
    """`onefold.registry.feast_objects` writes text alone, and the message in place of a function."""
    from feast.on_demand_feature_view import OnDemandFeatureView
    from feast.transformation.udf_rehydrate import resolve_udf

    assert resolve_udf(udf_string="def f(x):\n    return x + 1\n", body=b"", preferred_name="f")(1) == 2
    assert OnDemandFeatureView._raw_feature_transformation_proto is None
