"""What Spark says of its failures, as errors of ours."""

from __future__ import annotations

import re

from onefold.features import errors
from onefold.features.errors import ConfigError, OnefoldError, StoreError

CONNECTOR = "org.apache.spark:spark-sql-kafka-0-10_2.13:4.0.0"
_OURS = re.compile(r"onefold\.features\.errors\.(\w+): (.*)")
_ANY = re.compile(r"^[\w.]+(?:Error|Exception)\b.*", re.MULTILINE)


def start_error(error: Exception) -> OnefoldError:
    """Why a query did not start."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if "data source" in first.lower() and "kafka" in first.lower():
        return ConfigError(
            f'Spark has no Kafka connector; set [spark] packages = "{CONNECTOR}", which is fetched from Maven Central '
            'at the start, or conf = {"spark.jars" = "..."} with its jars (docs/spark.md)'
        )
    return StoreError(f"Spark's query did not start: {first}")


def told(error: BaseException) -> BaseException:
    """The error of ours that an executor raised, which Spark hands on as text; one of the driver's is as it is."""
    if not type(error).__module__.startswith(("pyspark", "py4j")):
        return error
    said = _OURS.findall(str(error))
    if said:
        kind, message = said[-1]
        return getattr(errors, kind, StoreError)(message)
    found = _ANY.findall(str(error)) or str(error).strip().splitlines() or [type(error).__name__]
    return StoreError(f"a batch of Spark's failed: {found[-1]}; Spark's log has the whole of it")
