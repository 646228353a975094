"""Addresses are believed while the process that wrote them lives, and loopback needs no proxy."""

from __future__ import annotations

import http.server
import json
import os
import threading
import time
import urllib.error
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from ganpipe import addresses, processes
from ganpipe.doctor import servers


def test_addresses_are_those_of_a_living_process(tmp_path: Path) -> None:
    assert addresses.read(tmp_path) == {}
    file = addresses.write(tmp_path, "http://127.0.0.1:1/api", "http://127.0.0.1:2")
    written = json.loads(file.read_text())
    assert addresses.read(tmp_path) == {
        "prefect": "http://127.0.0.1:1/api",
        "mlflow": "http://127.0.0.1:2",
    }
    file.write_text(json.dumps({"mlflow": "http://127.0.0.1:2"}))
    assert addresses.read(tmp_path) == {}, "nobody's"
    file.write_text(json.dumps({**written, "started": written["started"] - 60}))
    assert addresses.read(tmp_path) == {}, "the id belongs to a later process"
    child = os.fork()
    if not child:
        os._exit(0)
    try:
        while psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert processes.started(child) is None
    finally:
        os.waitpid(child, 0)
    file.write_text(json.dumps({**written, "pid": child}))
    assert addresses.read(tmp_path) == {}, "gone"


def test_this_machine_is_not_asked_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    class Healthy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            asked = self.path.endswith("/version")
            self.wfile.write(json.dumps(version("prefect") if asked else True).encode())

    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.HTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        found = servers.prefect(f"http://127.0.0.1:{server.server_port}/api")
    finally:
        server.shutdown()
        server.server_close()
    assert (found.status, found.remedy) == ("ok", "")
    with pytest.raises(urllib.error.URLError, match="refused"):  # others are
        addresses.opener("http://server.example").open("http://server.example", timeout=5)
