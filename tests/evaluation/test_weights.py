"""Weights files: a real server, good and bad files, and what each failure tells the user."""

import hashlib
import pickle
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.extractors import make_extractor
from ganpipe.evaluation.extractors.weights import (
    Published,
    cache_folder,
    find_weights,
    load_weights,
)

CONTENT = bytes(range(256)) * 40


class _Files(BaseHTTPRequestHandler):
    """/good.pth is there, /moved.pth points to it, /short.pth breaks off, /other.pth differs."""

    def do_GET(self):
        if self.path == "/moved.pth":
            self.send_response(302)
            self.send_header("Location", "/good.pth")
            self.end_headers()
        elif self.path in ("/good.pth", "/short.pth", "/other.pth"):
            content = CONTENT[::-1] if self.path == "/other.pth" else CONTENT
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:100] if self.path == "/short.pth" else content)
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


@contextmanager
def _serving(port):
    server = ThreadingHTTPServer(("127.0.0.1", port), _Files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANPIPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANPIPE_OFFLINE", raising=False)
    return tmp_path / "cache"


def _published(port, name="good.pth"):
    digest = hashlib.sha256(CONTENT).hexdigest()
    return Published(name, f"http://127.0.0.1:{port}/{name}", digest, len(CONTENT))


def _refusal(published, path=None):
    with pytest.raises(GanpipeError) as caught:
        find_weights(published, path)
    return str(caught.value)


@pytest.mark.parametrize("name", ["good.pth", "moved.pth"])
def test_a_download_is_kept_and_not_fetched_again(free_port, cache, name, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody listens there
    published = _published(free_port, name)
    with _serving(free_port):
        place = find_weights(published)
    assert place == cache / name
    assert place.read_bytes() == CONTENT
    assert find_weights(published) == place  # the server is gone


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("short.pth", "without sending complete message body"),
        ("other.pth", hashlib.sha256(CONTENT[::-1]).hexdigest()),
        ("missing.pth", "404"),
    ],
)
def test_a_bad_download_leaves_nothing_and_says_what_to_put_where(free_port, cache, name, why):
    published = _published(free_port, name)
    with _serving(free_port):
        told = _refusal(published)
    for part in (why, published.url, published.sha256, str(cache / name), "evaluate.weights"):
        assert part in told
    assert list(cache.iterdir()) == []


def test_a_server_that_is_not_there_is_told_with_what_to_put_where(free_port, cache):
    published = _published(free_port)
    told = _refusal(published)
    for part in ("could not be downloaded", published.url, published.sha256, str(cache)):
        assert part in told


def test_nothing_is_fetched_when_the_user_says_offline(free_port, cache, monkeypatch):
    monkeypatch.setenv("GANPIPE_OFFLINE", "1")
    published = _published(free_port)
    with _serving(free_port):
        told = _refusal(published)
    assert "GANPIPE_OFFLINE=1" in told
    assert str(cache / published.name) in told
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_told(free_port, cache):
    cache.write_text("a file where the folder should be")
    with _serving(free_port):
        told = _refusal(_published(free_port))
    assert str(cache) in told


@pytest.mark.parametrize("given", [True, False])
def test_a_file_with_another_sha256_is_refused_with_both_digests(tmp_path, cache, given):
    published = _published(9)
    place = tmp_path / "mine.pth" if given else cache / published.name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(b"something else")
    told = _refusal(published, place if given else None)
    for part in (str(place), hashlib.sha256(b"something else").hexdigest(), published.sha256):
        assert part in told
    assert place.read_bytes() == b"something else"


def test_a_given_file_comes_before_the_cache(tmp_path, cache):
    cache.mkdir()
    (cache / "good.pth").write_bytes(CONTENT)
    mine = tmp_path / "mine.pth"
    mine.write_bytes(CONTENT)
    assert find_weights(_published(9), mine) == mine


def test_a_given_file_that_is_not_there_is_never_replaced_by_a_download(free_port, tmp_path):
    with _serving(free_port):
        told = _refusal(_published(free_port), tmp_path / "typing-error.pth")
    assert f"evaluate.weights={tmp_path / 'typing-error.pth'} is no file" in told


def test_the_cache_folder_follows_the_environment(monkeypatch):
    assert cache_folder() == Path(__import__("os").environ["GANPIPE_CACHE"])
    monkeypatch.delenv("GANPIPE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache_folder() == Path("/var/cache/ganpipe")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/ganpipe"


def _file_of(path, value):
    torch.save(value, path)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Published(path.name, "http://127.0.0.1:9/", digest, len(content))


def test_weights_are_read_as_tensors(tmp_path):
    published = _file_of(tmp_path / "w.pth", {"a": torch.ones(2)})
    assert torch.equal(load_weights(published, tmp_path / "w.pth")["a"], torch.ones(2))


def test_code_in_a_weights_file_is_never_run(tmp_path):
    published = _file_of(tmp_path / "w.pth", {"a": Path("x")})
    with pytest.raises(pickle.UnpicklingError):
        load_weights(published, tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["inception", "inception-clean", "dinov2-b14", "dinov2-l14"])
def test_an_extractor_without_its_weights_says_which_file_to_put_where(name, cache, monkeypatch):
    monkeypatch.setenv("GANPIPE_OFFLINE", "1")
    with pytest.raises(GanpipeError, match=f"put it at {cache}.*[.]pth, or name it"):
        make_extractor(name)


def test_an_unknown_extractor_is_refused_with_those_there_are():
    with pytest.raises(GanpipeError, match="no extractor inceptoin: choose one of lite0"):
        make_extractor("inceptoin")
