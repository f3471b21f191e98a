"""Onefold's errors as HTTP answers: {"error": {"code", "message", "try"}}, and never a traceback."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from onefold.features.errors import (
    InputError,
    MismatchError,
    ModelError,
    NotFoundError,
    OnefoldError,
    StateError,
    StoreError,
    UntoleratedError,
)
from onefold.serving.messages import Answer

STATUS: dict[type[OnefoldError], int] = {
    InputError: 422,
    NotFoundError: 404,
    UntoleratedError: 412,
    StateError: 500,
    StoreError: 503,
    ModelError: 503,
    MismatchError: 503,
}
_ADVICE = {
    "state": "rebuild the state of this key from the archive (`onefold materialize`)",
    "store": "see /ready, and whether a worker or `onefold materialize` has filled the online store",
    "input": "see /docs for the shape of a request, with examples",
    "not-found": "see /v1/services and /v1/models for what is served",
    "model": "train or register the model again; /v1/models says what was refused",
}


class ApiError(Exception):
    """An answer that is an error: HTTP status, a short stable word, what is wrong, what to try."""

    def __init__(
        self, status: int, code: str, message: str, hint: str, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint
        self.headers = headers

    def body(self) -> bytes:
        return orjson.dumps({"error": {"code": self.code, "message": self.message, "try": self.hint}})

    def answer(self) -> Answer:
        return Answer(self.body(), self.status, headers=self.headers)


def invalid(message: str, hint: str) -> ApiError:
    """A request that is JSON, and does not fit what was asked."""
    return ApiError(422, InputError.code, message, hint)


def translate(error: OnefoldError, prefix: str = "") -> ApiError:
    """The answer for an error of Onefold's; what stands behind its last `; ` is what to try."""
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    message, _, hint = str(error).rpartition("; ")
    if not message or error.code in ("state",):
        message, hint = str(error), _ADVICE.get(error.code, "see the server's log")
    return ApiError(status, error.code, prefix + message, hint)


def internal() -> ApiError:
    """What nobody foresaw: the server's log has the traceback, the answer has not."""
    return ApiError(500, "internal", "the request could not be answered", "see the server's log, and report it")
