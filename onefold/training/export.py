"""From trees to ONNX: one input `features`, one output `score`, and proof on real rows that nothing was lost."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from onefold.features.contract import GoldenRow
from onefold.features.errors import ModelError
from onefold.training.trainer import Trees

OPSET, IR_VERSION = 15, 8
INPUT, OUTPUT = "features", "score"
TOLERANCE = 1e-5
"""The most that a score may differ, times max(1, |score|). Right conversions differ by 1e-6, wrong ones by 0.1."""
CHECKED_ROWS = 20_000
GOLDEN_ROWS = 8
_WRITERS = ("onnx", "onnxmltools", "onnxruntime", "xgboost")

Converter = Callable[[Trees], onnx.ModelProto]


def to_onnx(trees: Trees) -> onnx.ModelProto:
    """The trees as a graph: `features` float32 [n, k] to `score` float32 [n, 1].

    The score is the probability of 1, or the predicted value. Raises ModelError where the converter gives
    another graph than is known here.
    """
    from onnxmltools.convert import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    shape = [(INPUT, FloatTensorType([None, trees.width]))]
    found = convert_xgboost(trees.booster, initial_types=shape, target_opset=OPSET)
    nodes = list(found.graph.node)
    if [n.op_type for n in nodes[:1]] == ["TreeEnsembleClassifier"]:
        nodes, extra = [nodes[0], _positive_class(nodes[0])], [_ONE]
    elif [n.op_type for n in nodes] == ["TreeEnsembleRegressor"]:
        nodes[0].output[0] = OUTPUT
        extra = []
    else:
        raise ModelError(f"the converter gave {[n.op_type for n in nodes]}, one tree ensemble was expected")
    return _model(nodes, extra, trees.width)


_ONE = numpy_helper.from_array(np.array([1], np.int64), "positive")


def _positive_class(ensemble: onnx.NodeProto) -> onnx.NodeProto:
    """Takes column 1 of the classifier's probabilities [n, 2]."""
    return helper.make_node("Gather", [ensemble.output[1], "positive"], [OUTPUT], axis=1)


def _model(nodes: list[onnx.NodeProto], constants: list[TensorProto], width: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "onefold",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows", 1])],
        initializer=constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, producer_name="onefold", opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


class Session:
    """An ONNX Runtime session as serving runs it: one thread, CPU, so that a row alone scores as in a batch."""

    def __init__(self, model: bytes) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def scores(self, matrix: np.ndarray) -> np.ndarray:
        """Scores float32 [n] of a float32 matrix [n, k]."""
        return np.asarray(self._session.run([OUTPUT], {INPUT: matrix})[0]).reshape(-1)


def check_scores(model: bytes, trees: Trees, matrix: np.ndarray, *, tolerance: float = TOLERANCE) -> float:
    """The greatest difference between a converted model and its trainer, over max(1, |score|).

    Both score rows of `matrix` (float32 [n, k]; about CHECKED_ROWS, spread evenly), the same with a quarter of their
    values missing, and one row with all of them missing. Raises ModelError above `tolerance`, or where a row alone
    does not score as it does in the batch, to the bit.
    """
    rows = probe_rows(matrix)
    session = Session(model)
    found, wanted = session.scores(rows), trees.predict(rows)
    if found.shape != wanted.shape:
        raise ModelError(f"the converted model gives scores of shape {found.shape}, its trainer {wanted.shape}")
    off = np.abs(found.astype(np.float64) - wanted) / np.maximum(1.0, np.abs(wanted))
    worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
    if not off[worst] <= tolerance:
        bad = int(np.sum(~(off <= tolerance)))
        raise ModelError(
            f"the converted model does not score as its trainer: {bad:,} of {len(rows):,} rows differ by more than "
            f"{tolerance:g}; row {worst} scores {found[worst]:.9g}, its trainer says {wanted[worst]:.9g}; it was not "
            "registered: report the versions of onnxmltools and xgboost"
        )
    _check_alone(session, rows, found)
    return float(off[worst])


def probe_rows(matrix: np.ndarray) -> np.ndarray:
    """The rows that a conversion is judged on."""
    real = matrix[np.unique(np.linspace(0, len(matrix) - 1, CHECKED_ROWS).astype(np.int64))]
    holes = np.where(np.random.default_rng(0).random(real.shape) < 0.25, np.float32(np.nan), real)
    return np.concatenate([real, holes, np.full((1, matrix.shape[1]), np.nan, np.float32)])


def _check_alone(session: Session, rows: np.ndarray, scores: np.ndarray) -> None:
    for row in np.linspace(0, len(rows) - 1, 50).astype(np.int64):
        alone = session.scores(rows[row : row + 1])
        if alone.tobytes() != scores[row : row + 1].tobytes():
            raise ModelError(f"row {row} alone scores {alone[0]!r}, and {scores[row]!r} in a batch; use one thread")


def golden_places(matrix: np.ndarray) -> np.ndarray:
    """Rows of a matrix [n, k] to keep with a model: some spread evenly, two with the most values missing."""
    bare = np.argsort(-np.isnan(matrix).sum(axis=1), kind="stable")[:2]
    spread = np.linspace(0, len(matrix) - 1, GOLDEN_ROWS).astype(np.int64)
    return np.sort(np.array(list(dict.fromkeys([*bare, *spread[1:-1], *spread]))[:GOLDEN_ROWS]))


def golden_rows(model: bytes, doubles: np.ndarray) -> tuple[GoldenRow, ...]:
    """Rows (float64 [n, k]) with the scores that ONNX Runtime gives them."""
    scores = Session(model).scores(doubles.astype(np.float32))
    return tuple(
        GoldenRow(tuple(None if value != value else value for value in row), float(score))
        for row, score in zip(doubles.tolist(), scores, strict=True)
    )


def libraries() -> dict[str, str]:
    """What wrote the model, and the `ir` and opsets that must run it."""
    found = {"ir": str(IR_VERSION), "opset": str(OPSET), "opset.ai.onnx.ml": "1"}
    for name in _WRITERS:
        found[name] = _version(name, "xgboost-cpu" if name == "xgboost" else name)
    return found


def _version(*names: str) -> str:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    raise ModelError(f"none of the packages {', '.join(names)} is installed")
