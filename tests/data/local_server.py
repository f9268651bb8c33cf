"""A local HTTP server that can fail in the ways real ones do: the fixture ``server``."""
import contextlib
import http.server
import re
import threading

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes


class Server(http.server.ThreadingHTTPServer):
    """Serve ``files`` on 127.0.0.1 and record ``requests``: (path, Range header).

    files maps a path to its content (bytes), an error code (int) or a redirect (str).
    """

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.files = files
        self.requests = []

        self.headers = {"ETag": '"1"'}  # sent with each answer
        self.breaks = []  # for each answer: the connection breaks after this many bytes
        self.refusals = []  # for each answer: an error code
        self.supports_ranges = True
        self.supports_if_range = True
        self.length = "true"  # Content-Length: the true one, another one, or None for none

        serve = threading.Thread(target=self.serve_forever, args=[0.01], daemon=True)
        serve.start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        range_header = self.headers.get("Range")
        server.requests.append((self.path, range_header))
        content = server.files.get(self.path, 404)
        if server.refusals:
            content = server.refusals.pop(0)
        if isinstance(content, str):
            return self.answer(302, {"Location": content, "Content-Length": "0"})
        if isinstance(content, int):
            return self.answer(content, {"Content-Length": "0"})

        start = 0
        if range_header and server.supports_ranges:
            start = int(re.match(r"bytes=(\d+)-", range_header)[1])
        if_range = self.headers.get("If-Range")
        versions = (None, server.headers.get("ETag"), server.headers.get("Last-Modified"))
        if server.supports_if_range and if_range not in versions:
            start = 0
        if start and start >= len(content):
            return self.answer(416, {"Content-Range": f"bytes */{len(content)}"})

        headers = dict(server.headers)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if server.length is not None:
            true_length = len(content) - start
            headers["Content-Length"] = true_length if server.length == "true" else server.length
        self.answer(206 if start else 200, headers)
        end = start + server.breaks.pop(0) if server.breaks else len(content)
        with contextlib.suppress(ConnectionError):  # a client that wants a part hangs up
            self.wfile.write(content[start:end])

    def answer(self, code, headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    def log_message(self, *_):
        pass
