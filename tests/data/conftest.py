import pytest
from local_server import CONTENT, Server


@pytest.fixture
def server(monkeypatch):
    """A server with /file, which is not reached through a proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = Server({"/file": CONTENT})
    yield server
    server.shutdown()
    server.server_close()
