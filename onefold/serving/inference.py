"""The Open Inference Protocol, version 2, over HTTP: tensors of keys and request columns in, scores out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from onefold.features.errors import OnefoldError
from onefold.features.types import DOUBLE
from onefold.features.values import shown, to_json
from onefold.serving.access import CURRENT
from onefold.serving.answers import Answers
from onefold.serving.catalog import ServedModel
from onefold.serving.documents import Served
from onefold.serving.errors import ApiError, invalid, translate
from onefold.serving.live import Live
from onefold.serving.messages import Answer, Handler, Request
from onefold.serving.pages import answer
from onefold.serving.routes import OPEN, Route
from onefold.serving.rows import parse_object
from onefold.serving.tensors import described, rows_of

V2, MODEL, VERSION = "/v2", "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
FIELDS = ("id", "parameters", "inputs", "outputs")
_LONGEST_ID = 256


class Inference:
    """Answers the paths of the protocol. Its errors are the protocol's: {"error": text}."""

    def __init__(self, live: Live, answers: Answers) -> None:
        self._live, self._answers = live, answers
        self._outputs: dict[str, Callable[[ServedModel, Served, Sequence[float]], dict[str, Any]]] = {
            "score": lambda _, __, scores: _tensor("score", "FP32", [to_json(s, DOUBLE) for s in scores]),
            "request_id": lambda _, served, __: _tensor("request_id", "BYTES", list(served.request_ids)),
            "statuses": _statuses,
        }

    def posts(self) -> list[Route]:
        infer = _in_its_words(self.infer)
        summary = "Score rows by the Open Inference Protocol: a tensor a key and request column"
        return [Route(f"{place}/infer", infer, summary=summary) for place in (MODEL, VERSION)]

    def gets(self) -> list[Route]:
        model, ready = _in_its_words(self.model), _in_its_words(self.model_ready)
        return [
            Route(V2, self.server, OPEN, "The server, as the Open Inference Protocol describes it"),
            Route(f"{V2}/health/live", self.alive, OPEN, "Whether the process lives"),
            Route(f"{V2}/health/ready", self.ready, OPEN, "Whether it can answer, as /ready"),
            *(Route(place, model, summary="A model: its inputs and outputs") for place in (MODEL, VERSION)),
            *(Route(f"{place}/ready", ready, summary="Whether a model scores") for place in (MODEL, VERSION)),
        ]

    async def server(self, request: Request) -> Answer:
        from importlib.metadata import version

        return answer({"name": "onefold", "version": version("onefold"), "extensions": []})

    async def alive(self, request: Request) -> Answer:
        return answer({"live": True})

    async def ready(self, request: Request) -> Answer:
        good, _ = await self._live.readiness()
        return answer({"ready": good}, 200 if good else 503)

    async def model(self, request: Request) -> Answer:
        found = _model(request.path)
        return answer(
            {
                "name": found.model.name, "versions": [found.model.version], "platform": "onnx",
                "inputs": described(found.service.rows.fields),
                "outputs": [
                    {"name": "score", "datatype": "FP32", "shape": [-1]},
                    *({"name": name, "datatype": "BYTES", "shape": [-1]} for name in ("request_id", "statuses")),
                ],
            }
        )  # fmt: skip

    async def model_ready(self, request: Request) -> Answer:
        found = _model(request.path)
        checks = await self._live.catalog.checks()
        good = all(checks.get(what) == "ok" for what in (f"service {found.service.name}", f"model {found.model.name}"))
        return answer({"name": found.model.name, "ready": good}, 200 if good else 503)

    async def infer(self, request: Request) -> Answer:
        found = _model(request.path)
        data = parse_object(request.body, FIELDS)
        wanted, name = self._wanted(data.get("outputs")), data.get("id", "")
        if not isinstance(name, str) or len(name) > _LONGEST_ID:
            raise invalid(f"`id` is {shown(name)}", f"send a text of at most {_LONGEST_ID} characters")
        if not isinstance(data.get("parameters", {}), dict):
            raise invalid(f"`parameters` is {shown(data['parameters'])}", "send an object, or leave it out")
        served, scores = await self._answers.scored(found, rows_of(data.get("inputs"), found.service.rows.fields))
        document: dict[str, Any] = {
            "model_name": found.model.name,
            "model_version": found.model.version,
            "parameters": {"service": found.service.name, "fingerprint": found.service.plan.fingerprint},
            "outputs": [self._outputs[output](found, served, scores) for output in wanted],
        }
        return answer(document | ({"id": name} if name else {}))

    def _wanted(self, outputs: object) -> list[str]:
        if outputs is None or outputs == []:
            return ["score"]
        if not isinstance(outputs, list) or not all(isinstance(o, dict) for o in outputs):
            raise invalid(f"`outputs` is {shown(outputs)}", 'send a list of objects, as [{"name": "score"}]')
        names = [o.get("name") for o in outputs]
        unknown = [name for name in names if not isinstance(name, str) or name not in self._outputs]
        if unknown or len(set(names)) < len(names):
            raise invalid(f"`outputs` names {shown(names)}", f"name some of {', '.join(self._outputs)}, each once")
        return [str(name) for name in names]


def _model(path: str) -> ServedModel:
    """The model that a path names, in the version that it names."""
    parts = path.split("/")
    try:
        found = CURRENT.get().catalog.model(parts[3])
    except OnefoldError as error:
        raise translate(error) from error
    if parts[4:5] == ["versions"] and parts[5] != found.model.version:
        message = f"model {found.model.name!r} has no version {shown(parts[5])} here"
        raise ApiError(404, "not-found", message, f"version {found.model.version} serves")
    return found


def _in_its_words(handler: Handler) -> Handler:
    """A handler whose errors are as the protocol has them."""

    async def answered(request: Request) -> Answer:
        try:
            return await handler(request)
        except ApiError as error:
            if error.code == "mismatch":  # there may be definitions that fit: the application sees to it
                raise
            return Answer(orjson.dumps({"error": f"{error.message}; {error.hint}"}), error.status)

    return answered


def _tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}


def _statuses(found: ServedModel, served: Served, scores: Sequence[float]) -> dict[str, Any]:
    """Of each row, what is not fresh, as the text of a JSON object."""
    texts = [orjson.dumps(found.document.not_fresh(statuses)).decode() for statuses in served.statuses]
    return _tensor("statuses", "BYTES", texts)
