"""What Redis answers when it cannot do what was asked, in words that say what to do."""

from __future__ import annotations

from onefold.features.errors import StoreError

_MEANINGS = {
    "LOADING": "is loading its data into memory; wait until it has",
    "BUSY": "is busy with a script; wait, or end it with SCRIPT KILL",
    "MASTERDOWN": "is a replica without its primary; wait for the failover, or point [online] url at the primary",
    "CLUSTERDOWN": "is part of a cluster that is down: some slots have no primary; see CLUSTER INFO",
    "TRYAGAIN": "is moving these keys to another node; try again",
    "READONLY": "is a replica and takes no writes; point [online] url at the primary",
    "OOM": "has no memory left (maxmemory); give it more, or keep shorter windows. Nothing was evicted",
    "MISCONF": "takes no writes as it cannot save its data to disk; see its log",
    "NOREPLICAS": "takes no writes as it has too few replicas (min-replicas-to-write)",
    "NOAUTH": "asks for a password; set ONEFOLD_ONLINE__PASSWORD",
    "WRONGPASS": "refuses the user name or password; check [online] username and ONEFOLD_ONLINE__PASSWORD",
    "NOPERM": "does not allow a command to this user; docs/redis.md lists the commands that are needed",
    "WRONGTYPE": "holds something else under a name of ours; give Onefold a database of its own",
    "CROSSSLOT": "is a cluster; write the URL as redis+cluster://",
    "MOVED": "is a node of a cluster; write the URL as redis+cluster://",
}
_PASSING = ("LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")


class Unreachable(StoreError):
    """A Redis cannot be reached, or cannot answer now; it may be over in a moment."""


class Demoted(Unreachable):
    """A Redis that was a primary takes no writes any more: whoever asks again may find the new one."""


def explained(reply: Exception, where: object, *, what: str = "") -> StoreError:
    """The error that an error reply is; `what` says what was asked."""
    code = str(reply).partition(" ")[0]
    meaning = _MEANINGS.get(code)
    asked = f" ({what})" if what else ""
    text = f"Redis at {where} {meaning}{asked}: {reply}" if meaning else f"Redis at {where} refused{asked}: {reply}"
    if code == "READONLY":
        return Demoted(text)
    return Unreachable(text) if code in _PASSING else StoreError(text)
