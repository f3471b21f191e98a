from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onefold.features.contract import GoldenRow
from onefold.features.errors import MismatchError, ModelError
from onefold.serving import onnx_file
from onefold.serving.scorer import Model

if TYPE_CHECKING:
    from .conftest import World

WIDTH = 6
Maker = Callable[..., onnx.ModelProto]


def load(world: World, folder: Path | None = None) -> Model:
    return Model.load(folder or world.models / "late" / "1", world.plan)


def graph(nodes: list[Any], **parts: Any) -> onnx.ModelProto:
    """A model around nodes that turn `features` into `score`."""
    made = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", parts.pop("width", WIDTH)])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, parts.pop("shape", ["n"]))],
        **parts,
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_scores_are_those_of_a_plain_session(world: World, make_trees: Maker, scores_of: Callable[..., Any]) -> None:
    rng = random.Random(3)
    rows = [tuple(rng.choice([None, rng.uniform(-3, 3)]) for _ in range(WIDTH)) for _ in range(200)]
    assert load(world).score(rows) == scores_of(make_trees(WIDTH), rows)


def test_a_row_alone_scores_as_in_a_batch(world: World) -> None:
    rng = random.Random(4)
    rows = [tuple(rng.uniform(-3, 3) for _ in range(WIDTH)) for _ in range(100)]
    model = load(world)
    assert model.score(rows) == [model.score([row])[0] for row in rows]


def test_doubles_are_cast_last_and_booleans_are_numbers(world: World, scores_of: Callable[..., Any]) -> None:
    above, below = 1 + 2**-23, 1 + 2**-25  # the second is 1 as FLOAT, and a step needs more than 1
    model = load(world)
    assert model.score([(above,) + (0,) * 5])[0] > model.score([(below,) + (0,) * 5])[0]
    assert model.score([(True, False, 0, 0, 0, 0)]) == model.score([(1, 0, 0, 0, 0, 0)])


def test_a_double_beyond_float_is_infinite_and_warns_nobody(world: World, recwarn: pytest.WarningsRecorder) -> None:
    model = load(world)
    assert model.score([(1e300,) * WIDTH]) == model.score([(math.inf,) * WIDTH])
    assert not recwarn.list


def test_the_session_has_one_thread_of_each_kind(world: World) -> None:
    options = load(world).session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x80\x04\x95pickle", b"\x08\x09", b"\xff" * 64, b"ORTM1234"])
def test_a_file_that_is_not_onnx_is_refused(world: World, data: bytes) -> None:
    path = world.models / "late" / "1" / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="model 'late' version 1: it is not an ONNX file"):
        load(world)


def test_every_truncation_of_a_model_is_refused(world: World, make_trees: Maker) -> None:
    path = world.models / "late" / "1" / "model.onnx"
    data = path.read_bytes()
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(ModelError):
            load(world)


def test_external_data_is_refused_before_anything_is_opened(world: World) -> None:
    weights = helper.make_tensor(
        "w", TensorProto.FLOAT, [WIDTH, 1], np.ones((WIDTH, 1), np.float32).tobytes(), raw=True
    )
    onnx.external_data_helper.set_external_data(weights, location="../../../secret.bin")
    weights.ClearField("raw_data")
    model = graph([helper.make_node("MatMul", ["features", "w"], ["score"])], initializer=[weights], shape=["n", 1])
    world.write_model(model)
    with pytest.raises(ModelError, match="external data file"):
        load(world)


def test_external_data_is_found_inside_a_branch(world: World) -> None:
    hidden = helper.make_tensor("c", TensorProto.FLOAT, [1], [1.0])
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="/etc/passwd")
    branch = helper.make_graph([helper.make_node("Constant", [], ["c"], value=hidden)], "b", [], [])
    node = helper.make_node("If", ["features"], ["score"], then_branch=branch, else_branch=branch)
    world.write_model(graph([node]))
    with pytest.raises(ModelError, match="external data file"):
        load(world)


def test_an_operator_of_a_foreign_domain_is_refused(world: World, make_trees: Maker) -> None:
    world.write_model(make_trees(WIDTH, domain="com.microsoft"))
    with pytest.raises(ModelError, match=r"domain 'com.microsoft'.*may reach outside"):
        load(world)


def test_the_walk_visits_every_message_that_can_hold_a_tensor_or_a_node() -> None:
    names = {"TrainingInfo": "Training", "OperatorSetId": "Opset", "SparseTensor": "Sparse"}

    def short(descriptor: Any) -> str:
        name: str = descriptor.name.removesuffix("Proto")
        return names.get(name, name)

    def holds(descriptor: Any, seen: frozenset[str] = frozenset()) -> bool:
        if descriptor.full_name in seen:
            return False
        if descriptor.name in ("TensorProto", "NodeProto", "OperatorSetIdProto"):
            return True
        below = (f.message_type for f in descriptor.fields if f.message_type is not None)
        return any(holds(b, seen | {descriptor.full_name}) for b in below)

    todo, seen = [onnx.ModelProto.DESCRIPTOR], set()
    while todo:
        message = todo.pop()
        if message.full_name in seen or short(message) in ("Tensor", "Opset"):
            continue
        seen.add(message.full_name)
        children = [f for f in message.fields if f.message_type is not None and holds(f.message_type)]
        assert onnx_file._CHILDREN[short(message)] == {f.number: short(f.message_type) for f in children}
        todo += [f.message_type for f in children]


def test_a_link_out_of_the_folder_is_refused(world: World, tmp_path: Path) -> None:
    path = world.models / "late" / "1" / "model.onnx"
    path.rename(tmp_path / "elsewhere.onnx")
    path.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(ModelError, match="link to a file outside"):
        load(world)


@pytest.mark.parametrize("name", ["model.onnx", "contract.json"])
def test_a_missing_file_is_named(world: World, name: str) -> None:
    (world.models / "late" / "1" / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        load(world)


def test_a_wrong_width_is_refused(world: World, make_trees: Maker) -> None:
    world.write_model(make_trees(WIDTH + 1))
    with pytest.raises(ModelError, match=rf"it takes features tensor\(float\).* needs one input .*\[n, {WIDTH}\]"):
        load(world)


def test_a_wrong_input_name_is_refused(world: World, make_trees: Maker) -> None:
    world.write_model(make_trees(WIDTH, name="x"))
    with pytest.raises(ModelError, match="it takes x tensor"):
        load(world)


def test_a_missing_score_is_refused(world: World, make_trees: Maker) -> None:
    model = make_trees(WIDTH)
    model.graph.node[0].output[0] = model.graph.output[0].name = "label"
    world.write_model(model)
    with pytest.raises(ModelError, match=r"it gives label .*needed is an output 'score'"):
        load(world)


def test_an_opset_that_this_runtime_lacks_is_refused(world: World, make_trees: Maker) -> None:
    model = make_trees(WIDTH)
    model.opset_import[0].version = 9999
    contract = world.contract()
    world.write_model(model, libraries={**contract.libraries, "opset": "9999"})
    with pytest.raises(ModelError, match=r"ONNX Runtime [\d.]+ cannot run it .*9999"):
        load(world)


def test_an_opset_other_than_the_contracts_is_refused(world: World, make_trees: Maker) -> None:
    world.write_model(make_trees(WIDTH), libraries={"opset": "17"})
    with pytest.raises(ModelError, match="names opset 17, the file has 18"):
        load(world)


def test_another_score_of_a_golden_row_is_refused_with_both_versions(world: World, make_trees: Maker) -> None:
    good = world.contract()
    first = replace(good.golden[0], score=math.nextafter(good.golden[0].score, 2))
    world.write_model(make_trees(WIDTH), golden=(first, *good.golden[1:]), libraries={"onnxruntime": "1.2.3"})
    with pytest.raises(ModelError, match=r"golden row 0 scores .* onnxruntime 1\.2\.3, this is"):
        load(world)


def test_a_model_that_scores_a_batch_differently_is_refused(world: World) -> None:
    """It adds the batch's mean, so that a row alone and a row among others differ."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("ReduceSum", ["features", "axes"], ["sums"], keepdims=0),
        helper.make_node("ReduceMean", ["sums"], ["mean"], keepdims=1),
        helper.make_node("Add", ["sums", "mean"], ["score"]),
    ]
    rows = [GoldenRow((1.0,) * WIDTH, 12.0), GoldenRow((2.0,) * WIDTH, 24.0)]
    world.write_model(graph(nodes, initializer=[axes]), golden=tuple(rows), libraries={})
    with pytest.raises(ModelError, match=r"scores 12\.0 alone and 15\.0 among others"):
        load(world)


def test_a_contract_without_golden_rows_is_refused(world: World, make_trees: Maker) -> None:
    world.write_model(make_trees(WIDTH), golden=())
    with pytest.raises(ModelError, match="no golden rows"):
        load(world)


def test_golden_rows_of_another_width_are_refused(world: World, make_trees: Maker) -> None:
    world.write_model(make_trees(WIDTH), golden=(GoldenRow((1.0,), 0.1),))
    with pytest.raises(ModelError, match=f"golden row has not {WIDTH} values"):
        load(world)


def test_each_difference_to_the_served_features_is_named(world: World, make_trees: Maker) -> None:
    inputs = list(world.plan.inputs)
    inputs[0], inputs[1] = inputs[1], inputs[0]
    inputs[2] = replace(inputs[2], type="BIGINT")
    inputs[3] = replace(inputs[3], fingerprint="0" * 16)
    world.write_model(make_trees(WIDTH), inputs=tuple(inputs))
    with pytest.raises(MismatchError) as caught:
        load(world)
    text = str(caught.value)
    assert text.startswith("model 'late' version 1: order is")
    assert "feature 'avg_7d' is DOUBLE, model takes BIGINT" in text
    assert f"feature 'ratio' has fingerprint {world.plan.inputs[3].fingerprint}" in text


def test_a_model_of_another_service_is_refused(world: World) -> None:
    with pytest.raises(MismatchError, match="it takes service 'returns', served is 'everything'"):
        Model.load(world.models / "late" / "1", world.project.service("everything"))


def test_a_copied_folder_is_refused(world: World) -> None:
    folder = world.models / "late" / "1"
    with pytest.raises(MismatchError, match="its contract is of model 'late' version 1"):
        Model.load(folder.rename(folder.with_name("2")), world.plan)


def test_a_feature_that_is_no_number_is_refused(world: World, make_trees: Maker) -> None:
    plan = world.project.service("everything")
    golden = (GoldenRow((0.0,) * 5, 0.125),)
    folder = world.write_model(
        make_trees(5), service="everything", fingerprint=plan.fingerprint, inputs=plan.inputs, golden=golden
    )
    with pytest.raises(ModelError, match="feature 'last_category' is VARCHAR"):
        Model.load(folder, plan)


def test_a_contract_that_is_no_json_is_refused(world: World) -> None:
    (world.models / "late" / "1" / "contract.json").write_text("{")
    with pytest.raises(ModelError, match=r"model 'late' version 1: contract\.json cannot be read"):
        load(world)


def test_a_contract_without_a_field_is_refused(world: World) -> None:
    path = world.models / "late" / "1" / "contract.json"
    data = json.loads(path.read_text())
    del data["inputs"]
    path.write_text(json.dumps(data))
    with pytest.raises(ModelError, match=r"contract\.json cannot be read"):
        load(world)
