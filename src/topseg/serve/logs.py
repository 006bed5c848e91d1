"""Logs: one JSON object per line on standard error, for machines to collect."""

from __future__ import annotations

import json
import logging
import sys
import time


class JsonFormatter(logging.Formatter):
    """Time, level and message, then the fields that were given as ``extra={"fields": {...}}``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_json(level: str) -> None:
    """Make this package and its libraries log as JSON.

    Args:
        level: The least level that is logged.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    others = {"asyncio": "WARNING", "grpc": "WARNING", "uvicorn": "ERROR", "py.warnings": "WARNING"}
    logging.captureWarnings(True)
    logging.getLogger("python_multipart").disabled = True  # it repeats what a refusal says
    for name, least in {"topseg": level.upper(), **others}.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least)
