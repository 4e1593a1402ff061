"""Log lines are events with fields; every process of the program writes them in one shape to one place.

Actor hosts run as Ray's children, whose output Ray keeps in its own files. They send their lines to the program's log
socket instead, and the program prints them with its own.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import sys
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import orjson
import structlog
from aiohttp.http_exceptions import HttpProcessingError

from config.origin import REQUEST
from config.settings import Settings

_LARGEST_LINE = 60_000
_LONGEST_SOCKET_PATH = 107
_SECRET_WORDS = ("token", "secret", "password", "authorization", "api_key")


def log_socket(settings: Settings) -> Path:
    """Return where the program listens for the log lines of its children."""
    path = settings.data_dir.absolute() / "logs" / "lines.sock"
    if len(str(path).encode()) <= _LONGEST_SOCKET_PATH:
        return path
    # The kernel takes no longer path for a socket.
    digest = hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()
    return Path(tempfile.gettempdir()) / f"mktx-{digest}.sock"


class _SocketStream:
    """Writes each line as a datagram; to standard error while nobody listens."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def write(self, text: str) -> int:
        try:
            self._socket.sendto(text.encode()[:_LARGEST_LINE], self._path)
        except OSError:
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Datagrams are not kept back."""


def _without_secrets(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank every field whose name says that it holds a secret."""
    for name in event:
        if any(word in name.lower() for word in _SECRET_WORDS):
            event[name] = "…"
    return event


def _of_request(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write the id of the request that a line is about into it."""
    request = REQUEST.get()
    if request:
        event["request_id"] = request
    return event


def _named(process: str) -> structlog.types.Processor:
    """Return what writes the process's name into every line."""

    def add(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["process"] = process
        return event

    return add


class _WithoutPeersMistakes(logging.Filter):
    """Keeps back what the HTTP server says of requests that are no HTTP: it quotes them, tokens included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the line is to be written."""
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def configure_logs(settings: Settings, *, process: str, to_socket: bool | None = None) -> None:
    """Set up logging for this process; `process` names it in every line."""
    level = getattr(logging, settings.log_level.upper())
    path = log_socket(settings)
    use_socket = path.exists() if to_socket is None else to_socket
    stream: TextIO | _SocketStream = _SocketStream(path) if use_socket else sys.stdout
    renderer: structlog.types.Processor
    if settings.log_format == "json":
        renderer = structlog.processors.JSONRenderer(lambda event, **_: orjson.dumps(event, default=str).decode())
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _of_request,
            structlog.processors.add_log_level,
            _named(process),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_secrets,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),  # type: ignore[arg-type]  # it only writes and flushes
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(name)s %(levelname)s %(message)s"
    )
    logging.getLogger("aiohttp.server").addFilter(_WithoutPeersMistakes())
    # tweepy's debug lines hold the Authorization header.
    logging.getLogger("tweepy").setLevel(logging.WARNING)
    # At DEBUG oauthlib writes tokens and signatures.
    logging.getLogger("oauthlib").setLevel(logging.WARNING)
