"""Feast's online store over ours: `online_store: {type: onefold.online.feast.OnefoldOnlineStore}`."""

from __future__ import annotations

from onefold.online.feast.store import OnefoldOnlineStore, OnefoldOnlineStoreConfig

__all__ = ["OnefoldOnlineStore", "OnefoldOnlineStoreConfig"]
