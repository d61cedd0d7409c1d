"""The log format: one line, a sentence first, then action= and the ids."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class LineFormatter(logging.Formatter):
    """``2026-11-24T06:31:55.123Z INFO opsloop.engine sentence action=restart run=12``."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        parts = [f"{stamp}.{int(record.msecs):03d}Z", record.levelname, record.name]
        parts.append(_one_line(record.getMessage()))
        parts += [f"{k}={_value(v)}" for k, v in vars(record).items() if k not in _RESERVED]
        line = " ".join(parts)
        if record.exc_info:
            line += " exception=" + json.dumps(self.formatException(record.exc_info))
        return line


def _one_line(text: str) -> str:
    """On one line, and with nothing in it that a terminal would obey."""
    text = text.replace("\\", "\\\\")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _value(value: Any) -> str:
    text = str(value)
    plain = text and all(c.isalnum() or c in "_.:/-+@%," for c in text)
    return text if plain else json.dumps(text)


def configure(level: str = "INFO") -> None:
    """Send every log record of this process to stderr in the line format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
