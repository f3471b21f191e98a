"""Where a `<= 1 ulp` function may stand: as the last step of a feature (see docs/adr/0013)."""

from __future__ import annotations

from onefold.features import ir
from onefold.features.errors import DefinitionError
from onefold.features.functions import SPECIAL, find_overload


def inexact(expr: ir.Expr) -> bool:
    """Whether a `<= 1 ulp` function takes part in the value."""
    for node in ir.walk(expr):
        if isinstance(node, ir.Call) and node.op not in SPECIAL:
            found = find_overload(node.op, [a.type for a in node.args])
            if found is not None and found.inexact:
                return True
    return False


def refuse_inexact(expr: ir.Expr | None, *, what: str) -> None:
    """ln, exp and their like may differ in the last bit between engines, so they are the last step of a feature."""
    if expr is not None and inexact(expr):
        raise DefinitionError(
            f"{what} is fed by a function that is exact to 1 ulp only, as ln and exp are; "
            "such a function is the last step of a feature"
        )


_PASSED_ON = ("coalesce", "neg", "abs", "is_null", "and", "or", "not")
"""What leaves an inexact value as near as it was; a difference of two would not."""


def check_exactness(expr: ir.Expr) -> None:
    """Refuse inexact values anywhere but at the end: what is reckoned with them may differ by more than their mark."""
    for node in ir.walk(expr):
        if isinstance(node, ir.Call) and node.op not in _PASSED_ON:
            for arg in node.args:
                refuse_inexact(arg, what=repr(node.op))
        elif isinstance(node, ir.Cast):
            refuse_inexact(node.arg, what="CAST")
