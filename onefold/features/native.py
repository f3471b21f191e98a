"""The native kernel, where it was built: loading it, and saying which fold is in use.

`ONEFOLD_KERNEL` chooses: `auto` (native where it was built, as without it), `native` (an error where it was not), or
`python`. Both give the same bits. See docs/adr/0023-native-kernel.md.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from onefold.features.errors import ConfigError

VARIABLE = "ONEFOLD_KERNEL"
CHOICES = ("auto", "native", "python")
INTERFACE = 3
"""What is passed to the kernel; one that was built from other sources is not used."""


def kernel() -> ModuleType | None:
    """The module of the kernel; None where the Python fold is used.

    ConfigError where the choice is none, or where `native` is asked for and not there.
    """
    choice = os.environ.get(VARIABLE, "") or "auto"
    if choice not in CHOICES:
        raise ConfigError(f"{VARIABLE} is {choice!r}; it is one of {', '.join(CHOICES)}")
    if choice == "python":
        return None
    module = built()
    if module is None and choice == "native":
        raise ConfigError(
            f"{VARIABLE} is 'native', and the native kernel was not built for these sources; install gcc and Python's "
            f"headers and then Onefold again, or unset {VARIABLE}"
        )
    return module


def built() -> ModuleType | None:
    """The module of the kernel, whatever is chosen; None where it was not built, or from other sources."""
    try:
        module = importlib.import_module("onefold.features._kernel")
    except ImportError:
        return None
    return module if getattr(module, "INTERFACE", None) == INTERFACE else None


def function(name: str) -> Callable[..., Any] | None:
    """A function of the kernel; None where Python's is used."""
    found: Callable[..., Any] | None = getattr(kernel(), name, None)
    return found


@cache
def kept(name: str) -> Callable[..., Any] | None:
    """As `function`, chosen once a process: for those that are called too often to ask each time."""
    return function(name)


def in_use() -> str:
    """`native`, or `python`."""
    return "python" if kernel() is None else "native"
