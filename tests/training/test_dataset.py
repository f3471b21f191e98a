"""A training set holds what the engine says of its spine, and says what it was made from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onefold.features.contract import ModelInput
from onefold.features.errors import InputError, ModelError, NotFoundError
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.offline.archive import DeltaArchive
from onefold.offline.engine import point_in_time
from onefold.training.dataset import DATA, MANIFEST, TrainingSet, build
from onefold.training.manifest import Manifest
from onefold.training.matrix import check_finite, to_matrix


def test_features_stand_beside_the_spine_in_its_order(
    training_set: TrainingSet, spine: pa.Table, plan: ServicePlan, archive: DeltaArchive
) -> None:
    table = training_set.table()
    assert table.select(spine.column_names).equals(spine)
    expected = point_in_time(plan, {"payments": archive.files("payments")}, spine)
    assert table.select([i.name for i in plan.inputs]).equals(expected)


def test_manifest_says_what_it_was_made_from(training_set: TrainingSet, spine: pa.Table, plan: ServicePlan) -> None:
    manifest = training_set.manifest
    assert (manifest.service, manifest.fingerprint, manifest.inputs) == ("fraud", plan.fingerprint, plan.inputs)
    assert (manifest.rows, manifest.labelled) == (spine.num_rows, spine.num_rows - spine["fraud"].null_count)
    assert [manifest.first_time, manifest.last_time] == [
        moment.isoformat() for moment in (min(spine[1].to_pylist()), max(spine[1].to_pylist()))
    ]
    (source,) = manifest.sources
    assert (source.source, source.rows) == ("payments", 2_000)
    assert [(s.sequence, s.feed, s.offset) for s in source.sequences] == [(0, "file", 1_999)]
    assert set(manifest.libraries) == {"onefold", "duckdb", "pyarrow"}
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_a_second_build_has_the_same_hash_and_a_new_event_another_version(
    project: Project, own_archive: DeltaArchive, spine: pa.Table, tmp_path: Path, later_payments: pa.Table
) -> None:
    def once(name: str) -> Manifest:
        return build(project, "fraud", spine, archive=own_archive, out=tmp_path / name).manifest

    first, second = once("a"), once("b")
    assert first.content_hash == second.content_hash
    own_archive.append("payments", 0, later_payments)
    third = once("c")
    assert third.content_hash != first.content_hash
    assert third.sources[0].version > first.sources[0].version
    assert (third.sources[0].rows, third.sources[0].sequences[0].offset) == (2_100, 2_099)


def test_a_spine_may_be_a_file(project: Project, archive: DeltaArchive, spine: pa.Table, tmp_path: Path) -> None:
    pq.write_table(spine, tmp_path / "spine.parquet")
    made = build(project, "fraud", tmp_path / "spine.parquet", archive=archive, out=tmp_path / "set")
    assert made.manifest.rows == spine.num_rows


def test_as_served_takes_only_what_a_row_knew(
    project: Project, archive: DeltaArchive, spine: pa.Table, tmp_path: Path
) -> None:
    known = {("payments", "card"): [{0: 99}] * spine.num_rows}
    served = build(project, "fraud", spine, archive=archive, out=tmp_path / "s", as_of="served", known=known)
    whole = build(project, "fraud", spine, archive=archive, out=tmp_path / "e")
    counts = [int(made.table()["n_3d"].to_numpy().sum()) for made in (served, whole)]
    assert served.manifest.as_of == "served"
    assert 0 < counts[0] < counts[1]


def test_matrix_has_service_order_nan_for_null_and_numbers_for_booleans(training_set: TrainingSet) -> None:
    table, matrix = training_set.table(), training_set.matrix()
    assert matrix.dtype == np.float32 and matrix.shape == (table.num_rows, 4)
    assert [i.name for i in training_set.manifest.inputs] == ["n_3d", "spend_3d", "large_3d", "share"]
    for place, name in enumerate(["n_3d", "spend_3d", "large_3d", "share"]):
        missing = table[name].is_null().to_numpy()
        assert np.array_equal(np.isnan(matrix[:, place]), missing)
        assert missing.any() == (name != "n_3d")
    assert set(np.unique(matrix[:, 2][~np.isnan(matrix[:, 2])])) == {0.0, 1.0}


def test_matrix_is_computed_in_double_and_rounded_last(training_set: TrainingSet) -> None:
    table = training_set.table()
    spend, price = (table[c].to_numpy() for c in ("spend_3d", "price"))
    share = training_set.matrix()[:, 3]
    assert np.array_equal(share, (price / spend).astype(np.float32), equal_nan=True)
    in_float = price.astype(np.float32) / spend.astype(np.float32)
    assert np.mean(in_float[~np.isnan(share)] != share[~np.isnan(share)]) > 0.1


def test_doubles_that_are_one_float_differ_in_the_table_only() -> None:
    inputs = [ModelInput("x", "DOUBLE", "f"), ModelInput("n", "BIGINT", "f")]
    table = pa.table({"n": [2**24, 2**24 + 1], "x": [0.1, 0.1 + 2**-40]})
    doubles, floats = to_matrix(table, inputs, dtype=np.float64), to_matrix(table, inputs)
    assert len(np.unique(doubles[:, 0])) == len(np.unique(doubles[:, 1])) == 2
    assert len(np.unique(floats[:, 0])) == len(np.unique(floats[:, 1])) == 1


@pytest.mark.parametrize("kind", ["VARCHAR", "TIMESTAMP", "DATE"])
def test_what_is_no_number_is_refused_by_name(kind: str) -> None:
    with pytest.raises(ModelError, match=f"feature 'city' is {kind}.*on-demand view"):
        to_matrix(pa.table({"city": [None]}), [ModelInput("city", kind, "f")])


def test_a_column_of_another_type_or_none_is_refused() -> None:
    with pytest.raises(ModelError, match="feature 'n' is BIGINT, found a column of Arrow type double"):
        to_matrix(pa.table({"n": [1.5]}), [ModelInput("n", "BIGINT", "f")])
    with pytest.raises(ModelError, match="feature 'spend' is not in the table; did you mean 'spent'"):
        to_matrix(pa.table({"spent": [1.5]}), [ModelInput("spend", "DOUBLE", "f")])


def test_what_is_too_large_for_float_is_refused_by_name() -> None:
    inputs = [ModelInput("a", "DOUBLE", "f"), ModelInput("b", "DOUBLE", "f")]
    matrix = to_matrix(pa.table({"a": [1.0, None], "b": [1e300, 2.0]}), inputs)
    with pytest.raises(ModelError, match="feature 'b' is infinite as FLOAT in 1 of 2 rows"):
        check_finite(matrix, inputs)


def copied(training_set: TrainingSet, folder: Path, table: pa.Table, **options: object) -> TrainingSet:
    folder.mkdir()
    pq.write_table(table, folder / DATA, **options)
    (folder / MANIFEST).write_text((training_set.path / MANIFEST).read_text())
    return TrainingSet.load(folder)


def test_a_changed_value_is_found_on_request_and_another_encoding_is_none(
    training_set: TrainingSet, tmp_path: Path
) -> None:
    table = training_set.table()
    copied(training_set, tmp_path / "recoded", table, compression="gzip", use_dictionary=False).verify()
    ids = ["q0", *table["id"].to_pylist()[1:]]
    copied(training_set, tmp_path / "changed", table.set_column(table.column_names.index("id"), "id", pa.array(ids)))
    with pytest.raises(InputError, match=r"its rows hash to .* the file was changed"):
        TrainingSet.load(tmp_path / "changed", verify=True)


def test_a_folder_that_is_no_training_set_is_refused(training_set: TrainingSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no training set: it has no manifest\.json"):
        TrainingSet.load(tmp_path)
    broken = copied(training_set, tmp_path / "broken", training_set.table())
    (broken.path / DATA).write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot be read"):
        broken.table()
    for text in ("{", "[]", json.dumps({"format": 1}), json.dumps({"format": 9})):
        (broken.path / MANIFEST).write_text(text)
        with pytest.raises(InputError, match="build the"):
            TrainingSet.load(broken.path)


def test_what_cannot_be_built_is_refused_before_any_work(
    project: Project, archive: DeltaArchive, spine: pa.Table, tmp_path: Path
) -> None:
    def refused(message: str, rows: pa.Table | Path = spine, **options: object) -> None:
        given = {"archive": archive, "out": tmp_path / "set", "label": "fraud", **options}
        with pytest.raises(InputError, match=message):
            build(project, "fraud", rows, **given)  # type: ignore[arg-type]  # wrong ones on purpose

    refused("label 'froud' is not in the spine; did you mean 'fraud'", label="froud")
    refused("label 'id' is string; a label is BOOLEAN or a number", label="id")
    refused("as_of='yesterday' is not known", as_of="yesterday")
    refused("as_of='served' was given without known", as_of="served")
    refused("columns with names of features.*share", spine.rename_columns({"id": "share"}))
    misnamed = spine.rename_columns({"event_timestamp": "event_time"})
    refused("has no column 'event_timestamp'; did you mean 'event_time'", misnamed)
    refused("cannot be read as Parquet", tmp_path / "absent.parquet")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    refused("is there and is no training set", out=tmp_path / "mine")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(NotFoundError, match="did you mean 'fraud'"):
        build(project, "froud", spine, archive=archive, out=tmp_path / "set")


def test_a_failed_build_leaves_the_older_set_and_a_good_one_replaces_it(
    project: Project, archive: DeltaArchive, spine: pa.Table, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    first = build(project, "fraud", spine.slice(0, 10), archive=archive, out=out).manifest
    with pytest.raises(InputError):
        build(project, "fraud", spine.drop_columns(["price"]), archive=archive, out=out)
    assert TrainingSet.load(out, verify=True).manifest == first
    build(project, "fraud", spine.slice(0, 20), archive=archive, out=out)
    assert TrainingSet.load(out, verify=True).manifest.rows == 20
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_an_empty_spine_and_an_empty_archive_make_a_set(project: Project, spine: pa.Table, tmp_path: Path) -> None:
    bare = DeltaArchive(tmp_path / "archive")
    none = build(project, "fraud", spine.slice(0, 0), archive=bare, out=tmp_path / "none").manifest
    assert (none.rows, none.first_time, none.sources[0].version) == (0, None, -1)
    unseen = build(project, "fraud", spine.slice(0, 5), archive=bare, out=tmp_path / "unseen").table()
    assert unseen["n_3d"].to_pylist() == [0] * 5
    assert unseen["spend_3d"].null_count == 5


def test_progress_goes_through_all_stages(
    project: Project, archive: DeltaArchive, spine: pa.Table, tmp_path: Path
) -> None:
    seen: list[tuple[str, int, int]] = []
    build(project, "fraud", spine, archive=archive, out=tmp_path / "s", progress=lambda *step: seen.append(step))
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == ["events", "features", "hash", "write"]
    last = {stage: (done, total) for stage, done, total in seen}
    assert last["features"] == (1, 1) and last["write"] == (1, 1)


def test_a_manifest_of_other_inputs_is_another(training_set: TrainingSet) -> None:
    other = replace(training_set.manifest, inputs=training_set.manifest.inputs[:-1])
    assert Manifest.from_json(other.to_json()) != training_set.manifest
