"""A model, loaded only where it fits what is served, and run the way its trainer ran it.

On disk a model is `models/<name>/<version>/{model.onnx, contract.json}`, and `models/<name>/current`
holds the version that serves. The graph takes `features`, FLOAT [n, k] in service order, and gives
`score`, FLOAT [n] or [n, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from onefold.features.contract import GoldenRow, ModelContract, ModelInput, refusal
from onefold.features.errors import MismatchError, ModelError, OnefoldError
from onefold.features.types import parse_type
from onefold.features.values import decimal_double
from onefold.serving.onnx_file import OnnxFile, inspect

INPUT, OUTPUT = "features", "score"


class Vector(Protocol):
    """What feeds a model: a service's plan, or what is left of one that served."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def inputs(self) -> Sequence[ModelInput]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded model. `score` is its hot path and may be called from any thread.

    scales: place and scale of each input that is DECIMAL.
    """

    contract: ModelContract
    session: Any
    scales: Sequence[tuple[int, int]] = ()

    @property
    def name(self) -> str:
        return self.contract.model

    @property
    def version(self) -> str:
        return self.contract.version

    @classmethod
    def load(cls, folder: Path, plan: Vector) -> Model:
        """Load `<name>/<version>` for a service. ModelError or MismatchError names what does not fit."""
        try:
            return cls._load(folder, plan)
        except OnefoldError as error:
            where = f"model {folder.parent.name!r} version {folder.name}"
            text = str(error)
            raise type(error)(text if text.startswith(where) else f"{where}: {text}") from error

    @classmethod
    def _load(cls, folder: Path, plan: Vector) -> Model:
        contract = read_contract(folder)
        if (contract.model, contract.version) != (folder.parent.name, folder.name):
            raise MismatchError(
                f"its contract is of model {contract.model!r} version {contract.version}; "
                "register the model instead of copying its folder"
            )
        contract.check(service=plan.name, fingerprint=plan.fingerprint, inputs=plan.inputs)
        data = _read(folder, "model.onnx")
        _check_opsets(contract, inspect(data))
        session = _open(data)
        _check_shape(session, contract)
        model = cls(contract, session, _scales(contract))
        model._check_golden()
        return model

    def score(self, rows: Sequence[Sequence[Any]]) -> list[float]:
        """Scores of rows of internal values in service order; the FLOAT scores, widened.

        DOUBLE is cast to FLOAT last, NULL is NaN, BOOLEAN is 0 or 1, DECIMAL its nearest DOUBLE.
        """
        if self.scales:
            rows = [self._doubles(row) for row in rows]
        return self.run(_matrix(rows))

    def _doubles(self, row: Sequence[Any]) -> list[Any]:
        found = list(row)
        for i, scale in self.scales:
            found[i] = None if row[i] is None else decimal_double(row[i], scale)
        return found

    def run(self, table: npt.NDArray[np.float64]) -> list[float]:
        """The same for a matrix [rows, features]; NULL is NaN already."""
        with np.errstate(over="ignore"):
            inputs = table.astype(np.float32)
        scores: list[float] = self.session.run([OUTPUT], {INPUT: inputs})[0].ravel().tolist()
        return scores

    def _check_golden(self) -> None:
        golden = self.contract.golden
        if not golden:
            raise ModelError("its contract has no golden rows, so nothing shows that it scores here as it was trained")
        if any(len(row.values) != len(self.contract.inputs) for row in golden):
            raise ModelError(f"a golden row has not {len(self.contract.inputs)} values; export the model again")
        try:
            alone = [self.run(_matrix([row.values]))[0] for row in golden]
            together = self.run(_matrix([row.values for row in golden]))
        except Exception as error:  # a graph can fail on its first run, with any error of ONNX Runtime's
            raise ModelError(f"its golden rows cannot be scored ({_reason(error)}); export it again") from error
        if len(together) != len(golden):
            raise ModelError(f"it gives {len(together)} scores for {len(golden)} rows; needed is one for each")
        for number, row in enumerate(golden):
            self._compare_golden(number, row, (alone[number], together[number]))

    def _compare_golden(self, number: int, row: GoldenRow, got: tuple[float, float]) -> None:
        if any(score.hex() != float(row.score).hex() for score in got):
            trained = self.contract.libraries.get("onnxruntime", "an unknown version")
            raise ModelError(
                f"golden row {number} scores {got[0]!r} alone and {got[1]!r} among others, trained was {row.score!r}; "
                f"it was exported with onnxruntime {trained}, this is {ort.__version__}: "
                "export the model again with this version, or install that one"
            )


def _matrix(rows: Sequence[Sequence[Any]]) -> npt.NDArray[np.float64]:
    """Of None numpy makes NaN."""
    return np.array(rows, dtype=np.float64)


def _scales(contract: ModelContract) -> tuple[tuple[int, int], ...]:
    kinds = [parse_type(item.type) for item in contract.inputs]
    return tuple((i, kind.scale) for i, kind in enumerate(kinds) if kind.is_decimal)


def read_contract(folder: Path) -> ModelContract:
    """The contract in a model's folder; ModelError where there is none, or it cannot be read."""
    return ModelContract.from_json(_read(folder, "contract.json").decode("utf-8", "replace"))


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        raise ModelError(
            f"{path} is missing; train and register the model, or point `current` to a version that is there"
        )
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{path} is a link to a file outside its folder; put the file itself there")
    return path.read_bytes()


def _reason(error: Exception) -> str:
    """The end of what ONNX Runtime says: it begins with places in its own source."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else "..." + text[-300:]


def _check_opsets(contract: ModelContract, file: OnnxFile) -> None:
    """The contract's `opset` (of domain ai.onnx) and `opset.<domain>` against the file's."""
    for library, version in contract.libraries.items():
        kind, _, domain = library.partition(".")
        if kind != "opset":
            continue
        found = file.opsets.get(domain or "ai.onnx")
        if str(found) != str(version):
            raise ModelError(f"its contract names {library} {version}, the file has {found}; export the model again")


def _open(data: bytes) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen types with no base but Exception
        raise ModelError(
            f"ONNX Runtime {ort.__version__} cannot run it ({_reason(error)}); export it for an opset that it has"
        ) from error


def _check_shape(session: Any, contract: ModelContract) -> None:
    for item in contract.inputs:
        why = refusal(item)
        if why is not None:
            raise ModelError(why)
    width = len(contract.inputs)
    inputs, outputs = session.get_inputs(), {o.name: o for o in session.get_outputs()}
    found = [(i.name, i.type, i.shape[1:]) for i in inputs]
    if found != [(INPUT, "tensor(float)", [width])] or isinstance(inputs[0].shape[0], int):
        shown = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise ModelError(f"it takes {shown}; its contract needs one input {INPUT!r}, tensor(float) [n, {width}]")
    score = outputs.get(OUTPUT)
    if score is None or score.type != "tensor(float)" or score.shape[1:] not in ([], [1]) or not score.shape:
        shown = ", ".join(f"{o.name} {o.type} {o.shape}" for o in outputs.values())
        raise ModelError(f"it gives {shown}; needed is an output {OUTPUT!r}, tensor(float) [n] or [n, 1]")
