"""The one Spark of a test process: two threads, small shuffles."""

from onefold.offline.spark_session import SparkSettings

SPARK = SparkSettings(
    master="local[2]",
    conf={
        "spark.driver.memory": "2g",
        "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2",
        "spark.sql.sources.parallelPartitionDiscovery.threshold": "1000",
    },
)
