"""A small web server on this machine that can go on where a download was stopped, and can misbehave."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Home:
    """What is served.

    Attributes:
        files: Content by path ("/name").
        ranges: Whether it can start in the middle of a file.
        cut: Bytes after which a connection is cut, once; 0 for never.
        asked: (method, path, first byte asked for) of each request.
        url: Its address.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cut: int = 0
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving() -> Iterator[Home]:
    """Serve until the end of the block."""
    home = Home()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, body: bool) -> None:
            named = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            first = int(named[1]) if named else 0
            home.asked.append((self.command, self.path, first))
            data = home.files.get(self.path)
            if data is None:
                self.send_error(404)
                return
            start = first if home.ranges else 0
            if start >= len(data) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            if body:
                self._send(data[start:])

        def _send(self, data: bytes) -> None:
            if home.cut:
                data, home.cut = data[: home.cut], 0
                self.close_connection = True
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    home.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield home
    finally:
        server.shutdown()
        server.server_close()
