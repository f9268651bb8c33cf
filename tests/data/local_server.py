"""A server on 127.0.0.1 that does what servers do on bad days; tests get it as the fixture ``server``."""
import contextlib
import http.server
import re
import threading

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` on 127.0.0.1: path -> bytes, or an int (the error that is answered). ``asked`` collects the requests: (path, Range).

    What goes wrong, one entry an answer: ``breaks``, how many bytes are sent before it breaks off; ``refuses``, an error and its
    headers. ``knows_ranges``: whether it can go on in the middle. ``headers`` stand in each answer; an ETag or Last-Modified
    among them makes If-Range count. ``sends_from``: where it begins unasked. ``length``: what Content-Length says where that is
    not true, None for none at all.
    """
    knows_ranges, knows_if_range, sends_from, length = True, True, 0, "true"

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks, self.refuses, self.headers, self.asked = files, [], [], {}, []
        self.address = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append((self.path, asked))
        code, headers = server.refuses.pop(0) if server.refuses else (server.files.get(self.path, 404), {})
        if isinstance(code, str):
            code, headers = 302, {"Location": code}
        if isinstance(code, int):
            return self.answer(code, {**headers, "Content-Length": "0"})
        content, same = code, {server.headers.get("ETag"), server.headers.get("Last-Modified")}
        expected = self.headers.get("If-Range")
        start = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked and server.knows_ranges else server.sends_from
        if server.knows_if_range and expected not in same | {None}:
            start = 0
        if start and start >= len(content):
            return self.answer(416, {"Content-Range": f"bytes */{len(content)}"})
        headers = dict(server.headers)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if server.length is not None:
            headers["Content-Length"] = len(content) - start if server.length == "true" else server.length
        self.answer(206 if start else 200, headers)
        end = start + server.breaks.pop(0) if server.breaks else len(content)
        with contextlib.suppress(ConnectionError):  # who has enough, hangs up
            self.wfile.write(content[start:end])

    def answer(self, code, headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    def log_message(self, *_):
        pass
