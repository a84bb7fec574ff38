"""The page and its requests, on 127.0.0.1 alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sameo_model.playground.table import ImageTable, NothingFoundError, UnknownImageError

HOST = "127.0.0.1"
MAX_UPLOAD_BYTES = 40_000_000
MAX_JSON_BYTES = 10_000
IDLE_S = 30.0
"""A browser that sends nothing for so long is disconnected."""

_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_LOGGER = logging.getLogger(__name__)


class RefusedError(Exception):
    """A request cannot be answered; `status` and the message, one sentence, go to the browser."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class PlaygroundServer(ThreadingHTTPServer):
    """Serves the page of one model.

    Attributes:
        table: The open images.
        samples: Images that the page offers, by file name.
    """

    daemon_threads = True
    # Two servers on one port would share the browsers at random.
    allow_reuse_port = False

    def __init__(self, table: ImageTable, port: int, samples: list[Path]) -> None:
        """Listen.

        Args:
            port: 0 takes any that is free; `server_port` tells which.

        Raises:
            OSError: If the port is in use.
        """
        self.table = table
        self.samples = {path.name: path for path in samples}
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: PlaygroundServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def do_GET(self) -> None:
        """Answer with the page, a file of it, or something of an image."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Open an image, or find objects in one."""
        self._answer(self._post)

    def _answer(self, act: Callable[[], None]) -> None:
        try:
            self._check_origin()
            act()
        except RefusedError as error:
            self._refuse(error.status, str(error))
        except UnknownImageError as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error.args[0]))
        except NothingFoundError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except ValueError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True
        except Exception:
            _LOGGER.exception("%s %s failed", self.command, self.path)
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "this went wrong; see the terminal")

    def _check_origin(self) -> None:
        """Refuse other sites' scripts, whose requests a browser would send here as well."""
        own = (f"{HOST}:{self.server.server_port}", f"localhost:{self.server.server_port}")
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in own or (
            origin is not None and origin not in [f"http://{name}" for name in own]
        ):
            raise RefusedError(HTTPStatus.FORBIDDEN, f"open the page at {self.server.url}")

    def _get(self) -> None:
        address = urlsplit(self.path)
        parts = address.path.strip("/").split("/")
        table = self.server.table
        if address.path in _FILES:
            name, kind = _FILES[address.path]
            self._send((Path(__file__).parent / name).read_bytes(), kind)
        elif address.path == "/api/state":
            self._send_json({**table.describe(), "samples": list(self.server.samples)})
        elif len(parts) == 4 and parts[:2] == ["api", "images"]:
            key, what = parts[2:]
            stem = table.file_stem(key)
            if what == "shown.jpg":
                self._send(table.overlay(key, ".jpg", is_shown=True), "image/jpeg")
            elif what == "overlay.png":
                content = table.overlay(key, ".png", is_shown=False)
                self._send(content, "image/png", f"{stem}_overlay.png")
            elif what == "predictions.json":
                content = json.dumps(table.records(key), indent=1).encode()
                self._send(content, "application/json", f"{stem}_predictions.json")
            else:
                raise _not_found()
        else:
            raise _not_found()

    def _post(self) -> None:
        address = urlsplit(self.path)
        parts = address.path.strip("/").split("/")
        table = self.server.table
        if address.path == "/api/images":
            name = parse_qs(address.query).get("name", ["image"])[0]
            self._open(self._read(MAX_UPLOAD_BYTES), name)
        elif len(parts) == 3 and parts[:2] == ["api", "samples"]:
            self._read(MAX_JSON_BYTES)
            path = self.server.samples.get(unquote(parts[2]))
            if path is None:
                raise _not_found()
            self._open(path.read_bytes(), path.name)
        elif len(parts) == 4 and parts[:2] == ["api", "images"]:
            values = self._read_json()
            key, what = parts[2:]
            if what == "find":
                self._send_json(table.find(key))
            elif what == "clear":
                self._send_json(table.clear(key))
            elif what == "box":
                self._send_json(table.segment_box(key, _numbers(values, "box", 4)))
            elif what == "click":
                self._send_json(table.segment_click(key, _numbers(values, "point", 2)))
            else:
                raise _not_found()
        else:
            raise _not_found()

    def _open(self, content: bytes, name: str) -> None:
        try:
            self._send_json(self.server.table.open(content, name), HTTPStatus.CREATED)
        except ValueError as error:
            raise RefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"{Path(name).name} cannot be opened: {error}",
            ) from error

    def _read(self, limit: int) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "a request must say how long it is")
        if int(length) > limit:
            # What was sent is not read, so that nothing more can come on this connection.
            self.close_connection = True
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"at most {limit / 1e6:g} MB are taken, got {int(length) / 1e6:.1f} MB; make the "
                "image smaller",
            )
        return self.rfile.read(int(length))

    def _read_json(self) -> dict[str, Any]:
        content = self._read(MAX_JSON_BYTES)
        try:
            values = json.loads(content or b"{}")
        except (ValueError, RecursionError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the request must hold JSON") from error
        if not isinstance(values, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the request must hold a JSON object")
        return values

    def _send_json(self, content: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(content).encode(), "application/json", status=status)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        # An unread body would be parsed as the next request.
        self.close_connection = True
        self._send_json({"error": message}, status)

    def _send(
        self,
        content: bytes,
        kind: str,
        download: str | None = None,
        *,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        if download is not None:
            plain = "".join(
                c if (c.isascii() and c.isalnum()) or c in "._-" else "_" for c in download
            )
            self.send_header("Content-Disposition", f'attachment; filename="{plain}"')
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *values: object) -> None:
        """Keep requests out of the terminal unless somebody debugs."""
        _LOGGER.debug(format, *values)


def _numbers(values: dict[str, Any], key: str, count: int) -> list[float]:
    numbers = values.get(key)
    if (
        not isinstance(numbers, list)
        or len(numbers) != count
        or not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers)
    ):
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"'{key}' must be a list of {count} numbers")
    try:
        return [float(number) for number in numbers]
    except OverflowError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"'{key}' holds too large a number") from error


def _not_found() -> RefusedError:
    return RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")
