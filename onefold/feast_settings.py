"""What `feature_store.yaml` says of our plug-ins. It holds no secret: what came from the environment stays a name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onefold.config import Settings

ONLINE = "onefold.online.feast.OnefoldOnlineStore"
OFFLINE = "onefold.offline.feast.OnefoldOfflineStore"
ENGINE = "onefold.feast_engine.OnefoldComputeEngine"
_PASSED_ON = ("username", "timeout", "retry_for", "expire", "tls_check_hostname")


def feast_settings(settings: Settings) -> dict[str, Any]:
    """The sections of `feature_store.yaml` for a project's stores."""
    found: dict[str, Any] = {"online_store": _online(settings)}
    found["offline_store"] = {"type": OFFLINE}
    found["batch_engine"] = {"type": ENGINE, "project": str(settings.root)}
    return found


def shown_registry_url(settings: Settings) -> str | None:
    """The registry's URL as the file may show it; None where it is the place's own."""
    return _of_environment("REGISTRY", "URL") if settings.registry.url else None


def _online(settings: Settings) -> dict[str, Any]:
    given = settings.online
    said: dict[str, Any] = {"type": ONLINE}
    if not given.url:
        return said | {"path": str(settings.online_path), "map_size": given.map_size}
    said["url"] = _of_environment("ONLINE", "URL") or given.url
    said |= {name: getattr(given, name) for name in _PASSED_ON if getattr(given, name) != _default(given, name)}
    said |= {
        name: str(settings.root / path) for name in ("tls_ca", "tls_cert", "tls_key") if (path := getattr(given, name))
    }
    if given.password:
        said["password"] = _of_environment("ONLINE", "PASSWORD") or given.password
    return said


def _default(section: Any, name: str) -> Any:
    return type(section).model_fields[name].default


def _of_environment(section: str, key: str) -> str | None:
    """The reference that Feast fills in, where a variable says it."""
    name = f"ONEFOLD_{section}__{key}"
    return f"${{{name}}}" if name in os.environ else None
