"""Structured log lines on stderr, one JSON object each."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

import msgspec
import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class _Lossy:
    """stderr whose trouble is nobody else's: a full disk loses log lines, and stops no work."""

    def write(self, data: bytes) -> None:
        with suppress(OSError):
            sys.stderr.buffer.write(data)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.buffer.flush()


def configure(level: str) -> None:
    """Set up logging once per process. Values are ids and numbers, never bodies or tokens."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.BytesLoggerFactory(_Lossy()),  # type: ignore[arg-type]  # it uses these two methods only
        cache_logger_on_first_use=True,
    )
    # The server's own messages (a bad request line, a failed start) in plain text.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")


def _dumps(value: object, **_: object) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)
