"""Just enough of an engine for what goes beside a fake runtime: images that are all there, and a
stream of events in which nothing happens.
"""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Self


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeEngine

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/events":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.server.ended.wait()
            return
        if path.startswith("/images/") and path.endswith("/json") and path != "/images/json":
            name = path.removeprefix("/images/").removesuffix("/json")
            self._answer({"Id": "sha256:" + name.rpartition(":")[2], "RepoTags": [], "Size": 1})
        elif path in ("/images/json", "/containers/json"):
            self._answer([])
        else:
            self._answer({"message": "not here"}, 404)

    def _answer(self, document: object, status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        return


class FakeEngine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens on a socket below `directory`; `url` is what `DOCKER_HOST` has to be."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, directory: Path) -> None:
        self.ended = threading.Event()
        self.url = f"unix://{directory}/engine.sock"
        super().__init__(f"{directory}/engine.sock", _Handler)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
