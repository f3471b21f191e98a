"""`make test` draws the same Hypothesis examples every time; `make parity` is what looks for new ones."""

from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def spark() -> Any:
    """The one Spark session of the test process."""
    from onefold.offline.spark_session import session
    from tests.spark import SPARK

    return session(SPARK)


@pytest.fixture(autouse=True)
def _same_spark(request: pytest.FixtureRequest) -> None:
    """A test that takes Spark as its `engine` finds the session of all the others."""
    params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if str(params.get("engine", "")).startswith("spark"):
        request.getfixturevalue("spark")
