"""Feast's offline side on Onefold: the store that `feature_store.yaml` names, and what it is made of.

    offline_store:
        type: onefold.offline.feast.OnefoldOfflineStore

Importing this imports Feast, and neither Spark nor Kafka nor MLflow.
"""

from onefold.offline.feast.store import OnefoldOfflineStore, OnefoldOfflineStoreConfig

__all__ = ["OnefoldOfflineStore", "OnefoldOfflineStoreConfig"]
