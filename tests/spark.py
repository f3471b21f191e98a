"""The one Spark of a test process: two threads, small shuffles, and Kafka's connector where its jars are."""

import subprocess
from pathlib import Path

from onefold.offline.spark_session import SparkSettings


def connector() -> str:
    """The connector's jars, with commas between; empty where `scripts/services install` has not brought them."""
    script = Path(__file__).resolve().parents[1] / "scripts" / "services"
    asked = subprocess.run([script, "jars", "spark"], capture_output=True, text=True, check=False)
    return ",".join(map(str, sorted(Path(asked.stdout.strip()).glob("*.jar")))) if asked.returncode == 0 else ""


SPARK = SparkSettings(
    master="local[2]",
    conf={
        "spark.driver.memory": "2g",
        # Compiled once and lightly, as most of what Spark runs here it runs a few times.
        "spark.driver.defaultJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2",
        "spark.sql.sources.parallelPartitionDiscovery.threshold": "1000",
        "spark.jars": connector(),
    },
)
