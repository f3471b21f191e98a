"""`onefold demo`: a year of flights, a model trained on eleven months of it, and December lived through."""

from onefold.demo.run import run_demo

__all__ = ["run_demo"]
