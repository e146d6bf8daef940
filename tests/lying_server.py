# SPDX-License-Identifier: BSD-2-Clause
"""An HTTP server on this machine that does, request by request, what it is told to."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer:
    """One request being answered: `path` is what its URL names, `offset` what its Range asks for,
    0 without one."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        self.path = handler.path
        asked = handler.headers.get("Range", "bytes=0-")
        self.offset = int(asked.removeprefix("bytes=").partition("-")[0])

    def head(self, status: int, **headers: object) -> None:
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), str(value))
        self._handler.end_headers()

    def body(self, content: bytes) -> None:
        self._handler.wfile.write(content)
        self._handler.wfile.flush()

    def rest(self, content: bytes, upto: int | None = None) -> None:
        """What an honest server sends, cut off after byte `upto` of the file."""
        if self.offset >= len(content):
            self.head(416, Content_Range=f"bytes */{len(content)}", Content_Length=0)
            return
        length = len(content) - self.offset
        if self.offset:
            sent = f"bytes {self.offset}-{len(content) - 1}/{len(content)}"
            self.head(206, Content_Length=length, Content_Range=sent)
        else:
            self.head(200, Content_Length=length)
        self.body(content[self.offset : upto])

    def stall(self, seconds: float = 3.0) -> None:
        time.sleep(seconds)


class Server:
    """`url`, the offsets asked for so far, and the behaviour for the n-th request (from 0)."""

    def __init__(self, behave: Callable[[Answer, int], None]) -> None:
        self.offsets: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = Answer(self)
                outer.offsets.append(answer.offset)
                with suppress(ConnectionError):
                    behave(answer, len(outer.offsets) - 1)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/pub/linux-5.10.tar.xz?mirror=1"


@contextmanager
def serving(behave: Callable[[Answer, int], None]) -> Iterator[Server]:
    """The server, until the block ends."""
    server = Server(behave)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        thread.join()
        server.http.daemon_threads = True
        server.http.socket.close()
