"""Log lines of long-running commands, on stderr: for people, or a JSON object each for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(*, as_json: bool, level: int = logging.WARNING) -> None:
    """Have Onefold's own loggers write to stderr; as JSON lines from INFO on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("%(levelname)s %(message)s"))
    root = logging.getLogger("onefold")
    root.handlers[:] = [handler]
    root.setLevel(min(level, logging.INFO) if as_json else level)
    root.propagate = False
