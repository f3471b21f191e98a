"""Every error that Onefold raises on purpose.

    OnefoldError
    ├── DefinitionError        a definition is wrong; carries the place in its SQL
    │   └── UnsupportedSQL     valid SQL that lies outside the portable subset
    ├── InputError             a table, spine or request does not fit what was asked of it
    ├── EventError             one event cannot be taken; it goes to the dead letters
    ├── StateError             bytes in a store of state are not a state
    ├── MismatchError          two fingerprints (or contracts) that must agree differ
    ├── ModelError             a model file cannot be used
    ├── NotFoundError          a name that nothing bears
    ├── UntoleratedError       a value whose status the request does not put up with
    ├── StoreError             a store or archive cannot do what was asked
    │   ├── SessionError       the store may have lost writes since it was read: read it again, then go on
    │   └── UnbuiltError       a state must be built from the archive before anything is appended
    └── ConfigError            onefold.toml or an environment override is wrong

A message says what was asked, what was found and what to try. Errors know nothing of HTTP or of
exit codes; serving and the CLI translate them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onefold.features.places import Place

_EXCERPT = 110


class OnefoldError(Exception):
    """Root of the tree; `code` is a short stable word for machines."""

    code = "error"


class DefinitionError(OnefoldError):
    """A definition is refused.

    `line` and `column` (from 1) point into `sql`; where the definition is Python, that is the text of `file`.
    near: words of the SQL, at the first of which it stands, for whoever knows where to look for them.
    """

    code = "definition"

    def __init__(
        self,
        message: str,
        *,
        sql: str = "",
        line: int | None = None,
        column: int | None = None,
        file: str = "",
        near: tuple[str, ...] = (),
    ) -> None:
        self.message, self.sql, self.line, self.column, self.file = message, sql, line, column, file
        self.near = near
        super().__init__(self._render())

    @classmethod
    def at(cls, place: Place, message: str) -> DefinitionError:
        """An error in a definition that is written in Python."""
        return cls(message, sql=place.text, line=place.line, column=place.column, file=place.shown)

    def of(self, what: str) -> DefinitionError:
        """The same error, that says in which definition it is."""
        return type(self)(f"{what}: {self.message}", sql=self.sql, line=self.line, column=self.column, file=self.file)

    def _render(self) -> str:
        if self.line is None or self.column is None:
            return self.message
        where = f"{self.file}, line" if self.file else "line"
        text = f"{self.message} ({where} {self.line}, column {self.column})"
        lines = self.sql.splitlines()
        if 0 < self.line <= len(lines):
            start = max(0, self.column - 1 - _EXCERPT // 2)
            excerpt = lines[self.line - 1][start : start + _EXCERPT]
            text += f"\n  {excerpt}\n  {' ' * (self.column - 1 - start)}^"
        return text


class UnsupportedSQL(DefinitionError):
    code = "unsupported-sql"


class InputError(OnefoldError):
    code = "input"


class EventError(OnefoldError):
    code = "event"


class StateError(OnefoldError):
    code = "state"


class MismatchError(OnefoldError):
    code = "mismatch"


class ModelError(OnefoldError):
    code = "model"


class NotFoundError(OnefoldError):
    code = "not-found"


class UntoleratedError(OnefoldError):
    code = "not-tolerated"


class StoreError(OnefoldError):
    code = "store"


class SessionError(StoreError):
    """The store has another session than the one that was read: it may have lost writes in between."""

    code = "session"


class UnbuiltError(StoreError):
    """A state is not there, or lacks events that no feed can bring any more: it must be built from the archive."""

    code = "unbuilt"


class ConfigError(OnefoldError):
    code = "config"


def nearest(name: str, known: Iterable[str]) -> str:
    """A tail for a message: `; did you mean 'amount'?`, or the known names where none is near.

    >>> nearest("amout", ["amount", "city"])
    "; did you mean 'amount'?"
    >>> nearest("zzz", ["amount", "city"])
    '; known are: amount, city'
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are: {', '.join(names)}" if names else "; none is known"
