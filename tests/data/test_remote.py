"""Folders and archives behind URLs, on a real S3 endpoint and a real web server."""

import functools
import http.server
import io
import os
import re
import tarfile
import threading
import time
import zipfile

import boto3
import pytest

from ganpipe.data.sources import make_source
from ganpipe.data.sources.archive import Archive
from ganpipe.data.sources.remote import Remote
from ganpipe.data.sources.store import tag_of, work_in_flight
from ganpipe.errors import GanpipeError
from ganpipe.params import DataParams
from tests import s3


@pytest.fixture
def bucket(s3_client):
    """An empty bucket, and what puts files into it."""
    s3_client.create_bucket(Bucket="images")
    yield lambda key, body: s3_client.put_object(Bucket="images", Key=key, Body=body)
    s3.delete(s3_client, "images")


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Files and index pages; parts of files where asked; an ETag; a failure now and then."""

    protocol_version = "HTTP/1.1"
    ranges = True
    failures: dict[str, int]

    def log_message(self, *_):
        pass

    def send_head(self):
        name = self.path.rsplit("/", 1)[-1]
        if self.failures.get(name):
            self.failures[name] -= 1
            self.send_error(503)
            return None
        path = self.translate_path(self.path)
        if os.path.isdir(path):  # noqa: PTH112 - as in the handler that this follows
            return super().send_head()
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                payload = file.read()
        except OSError:
            self.send_error(404)
            return None
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.ranges:
            start, end = int(asked[1]), min(int(asked[2] or len(payload)), len(payload) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(payload)}")
            payload = payload[start : end + 1]
        else:
            self.send_response(200)
        self.send_header("ETag", f'"{os.stat(path).st_mtime_ns}"')  # noqa: PTH116
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        return io.BytesIO(payload)


@pytest.fixture
def web(tmp_path):
    """A web server for a folder: (folder, URL, the handler's class)."""
    folder = tmp_path / "www"
    folder.mkdir()
    kind = type("Handler", (_Ranges,), {"failures": {}})
    handler = functools.partial(kind, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # clients hang up when they have read enough
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}", kind
    server.shutdown()
    thread.join()
    server.server_close()


def _told(source):
    return {e.path: (e.label, e.status, payload) for e, payload in source.read(source.entries)}


def test_a_bucket_is_a_folder(bucket):
    for key in ("set/dogs/b.png", "set/cats/deep/a.png", "set2/x.png", "set/.hidden/x", "y.png"):
        bucket(key, key.encode())
    bucket("set/", b"")  # what consoles write for a folder
    bucket("set/../up.png", b"1")
    source = make_source(DataParams(source="folder", path="s3://images/set"))
    assert _told(source) == {
        "../up.png": ("", "unsafe-name", b""),
        ".hidden/x": ("", "hidden", b""),
        "cats/deep/a.png": ("cats", "", b"set/cats/deep/a.png"),
        "dogs/b.png": ("dogs", "", b"set/dogs/b.png"),
    }
    assert [entry.path for entry in source.entries] == sorted(e.path for e in source.entries)
    assert len(make_source(DataParams(source="folder", path="s3://images/")).entries) == 6


def test_the_tag_of_an_object_is_its_content_s(bucket):
    bucket("a.png", b"one")
    first = Remote("s3://images", "auto")
    fingerprint = first.fingerprint()
    assert fingerprint["source"] == "folder"
    assert fingerprint["bytes"] == 3
    bucket("a.png", b"one")  # uploaded again: another time, the same bytes
    assert Remote("s3://images", "auto").fingerprint() == fingerprint
    bucket("a.png", b"two")
    assert Remote("s3://images", "auto").fingerprint() != fingerprint


def test_objects_that_go_away_meanwhile_are_set_aside(bucket):
    for number in range(40):
        bucket(f"{number:02d}.png", bytes(number))
    source = Remote("s3://images", "auto")
    wanted = source.entries[10:]
    boto3.client("s3").delete_object(Bucket="images", Key="20.png")
    found = {entry.path: (entry.status, len(payload)) for entry, payload in source.read(wanted)}
    expected = {f"{number:02d}.png": ("", number) for number in range(10, 40)}
    assert found == expected | {"20.png": ("missing", 0)}


def test_odd_keys_are_read(bucket):
    keys = ["a b.png", "é.png", "a+b%20c.png", "a#b.png", "a*[b].png", "a?b.png", "n" * 900]
    for key in keys:
        bucket(f"set/{key}", key.encode())
    told = _told(Remote("s3://images/set", "auto"))
    assert told == {key: ("", "", key.encode()) for key in keys}


def test_a_table_in_a_bucket_gives_classes(bucket):
    bucket("1.png", b"1")
    bucket("labels.csv", b"file,label\n1.png,one\n2.png,two\n")
    source = Remote("s3://images", "auto")
    assert _told(source) == {"1.png": ("one", "", b"1"), "2.png": ("two", "missing", b"")}
    first = source.fingerprint()["digest"]
    bucket("labels.csv", b"file,label\n1.png,one\n2.png,two\n\n")
    assert Remote("s3://images", "auto").fingerprint()["digest"] != first


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_in_a_bucket_is_read_where_it_lies(bucket, kind):
    files = {f"cats/{number}.png": os.urandom(10_000) for number in range(300)}
    bucket(f"sets/a.{kind}", _packed(files, kind))
    assert {
        path: payload
        for path, (_, _, payload) in _told(Archive(f"s3://images/sets/a.{kind}", "auto")).items()
    } == files
    bucket("sets/README", b"1")
    source = Archive("s3://images/sets", "auto")
    assert source.fingerprint()["count"] == 1
    told = _told(source)
    assert told.pop("README") == ("", "beside-archives", b"")
    assert told == {f"a.{kind}/{path}": ("", "", payload) for path, payload in files.items()}


def _packed(files, kind):
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            for name, payload in files.items():
                archive.writestr(name, payload)
    else:
        with tarfile.open(fileobj=out, mode="w:gz" if kind == "tar.gz" else "w") as archive:
            for name, payload in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(payload)
                archive.addfile(member, io.BytesIO(payload))
    return out.getvalue()


@pytest.mark.parametrize("source", [Remote, Archive])
def test_what_is_not_there_is_named(bucket, source):
    with pytest.raises(GanpipeError, match="s3://no-such-bucket/x"):
        _ = source("s3://no-such-bucket/x", "auto").entries
    with pytest.raises(GanpipeError, match="s3://images/nothing"):
        _ = source("s3://images/nothing", "auto").entries


def test_an_archive_given_as_a_folder_says_so(bucket):
    bucket("a.zip", b"1")
    with pytest.raises(GanpipeError, match=r"set data\.source=archive"):
        _ = Remote("s3://images/a.zip", "auto").entries


def test_a_store_that_cannot_be_reached_is_named_soon(s3_client, monkeypatch, free_port):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    start = time.monotonic()
    with pytest.raises(GanpipeError, match=r"s3://images/set cannot be reached.*AWS_ENDPOINT_URL"):
        _ = Remote("s3://images/set", "auto").entries
    assert time.monotonic() - start < 30


def test_missing_credentials_are_named(s3_client, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(GanpipeError, match=r"s3://images/set may not be read.*AWS_PROFILE"):
        _ = Remote("s3://images/set", "auto").entries


@pytest.mark.parametrize(
    ("url", "words"),
    [("gs://bucket/set", "pip install gcsfs"), ("nosuch://x/y", "Protocol not known: nosuch")],
)
def test_an_unknown_protocol_says_what_to_install(url, words):
    with pytest.raises(GanpipeError, match=words):
        Remote(url, "auto")


def test_passwords_in_a_url_are_not_repeated(free_port):
    with pytest.raises(GanpipeError) as caught:
        _ = Remote(f"http://me:secret@127.0.0.1:{free_port}/x", "auto").entries
    assert "secret" not in str(caught.value)
    assert f"127.0.0.1:{free_port}/x" in str(caught.value)


def _pictures(folder):
    files = {"cats/a b.png": b"1", "dogs/é.png": b"22", "dogs/deep/c%#.png": b"333"}
    for name, payload in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(payload)
    return {name: (name.split("/")[0], "", payload) for name, payload in files.items()}


def test_index_pages_are_a_folder(web):
    folder, url, _ = web
    expected = _pictures(folder / "set")
    (folder / "secret.png").touch()
    source = Remote(f"{url}/set", "auto")
    assert _told(source) == expected
    assert [entry.size for entry in source.entries] == [1, 3, 2]
    os.utime(folder / "set" / "cats" / "a b.png", ns=(5, 5))
    again = Remote(f"{url}/set/", "auto")
    assert again.entries[0].tag == "5"
    assert again.entries[1:] == source.entries[1:]


def test_links_to_the_same_page_in_another_order_are_no_files(web):
    folder, url, _ = web
    (folder / "a.png").touch()
    links = [
        "?C=N;O=D",
        "/",
        "../",
        "a.png",
        f"{url}/a.png",
        "https://example.org/b.png",
        "gone.png",
    ]
    page = "".join(f'<a href="{link}">x</a>' for link in links)
    (folder / "index.html").write_text(f"<html>{page} {url}/text.png</html>")
    found = Remote(url, "auto").entries
    assert {entry.path: entry.status for entry in found} == {"a.png": "", "gone.png": "missing"}


def test_a_web_server_that_fails_for_a_moment_is_asked_again(web):
    folder, url, handler = web
    expected = _pictures(folder)
    source = Remote(url, "auto")
    handler.failures["a%20b.png"] = 3  # of which fsspec asks twice at a time
    assert [entry.status for entry in source.entries] == ["", "", ""]
    handler.failures["a%20b.png"] = 2
    assert _told(source) == expected


def test_a_file_that_fails_for_long_ends_the_reading(web):
    """Set aside, it would be missing for good: its tag stays the same."""
    folder, url, handler = web
    for number in range(40):
        (folder / f"{number:02d}.png").touch()
    source = Remote(url, "auto")
    assert len(source.entries) == 40
    handler.failures["17.png"] = 99
    with pytest.raises(GanpipeError, match=rf"{url}/17\.png cannot be reached"):
        list(source.read(source.entries))


def test_a_page_that_is_not_there_is_named(web):
    _, url, _ = web
    with pytest.raises(GanpipeError, match="/nothing does not exist"):
        _ = Remote(f"{url}/nothing", "auto").entries
    with pytest.raises(GanpipeError, match=r"/nothing\.zip"):
        _ = Archive(f"{url}/nothing.zip", "auto").entries


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_on_a_web_server_is_read_where_it_lies(web, kind):
    folder, url, handler = web
    files = {f"cats/{number}.png": os.urandom(5000) for number in range(50)}
    (folder / f"a.{kind}").write_bytes(_packed(files, kind))
    told = _told(Archive(f"{url}/a.{kind}?token=1", "auto"))
    assert {path: payload for path, (_, _, payload) in told.items()} == files
    several = Archive(url, "auto")
    assert list(_told(several)) == [f"a.{kind}/{path}" for path in files]
    handler.ranges = False
    if kind != "zip":  # a tar is read from its beginning to its end
        assert len(_told(Archive(f"{url}/a.{kind}", "auto"))) == 50


def test_a_large_zip_on_a_server_without_ranges_says_what_is_missing(web):
    folder, url, handler = web
    handler.ranges = False
    (folder / "a.zip").write_bytes(_packed({"a.png": os.urandom(6_000_000)}, "zip"))
    with pytest.raises(GanpipeError, match="range requests"):
        _ = Archive(f"{url}/a.zip", "auto").entries


def test_only_so_many_files_and_bytes_are_in_flight():
    flying, most, lock = [], [], threading.Lock()

    def work(task):
        with lock:
            flying.append(task)
            most.append((len(flying), sum(flying)))
        time.sleep(0.01)
        with lock:
            flying.remove(task)
        return task

    tasks = [1] * 60 + [2**27] * 6 + [2**29] * 2
    assert sorted(work_in_flight(work, tasks, lambda task: task)) == sorted(tasks)
    assert max(count for count, _ in most) == 16
    assert max(total for _, total in most) == 2**29


def test_the_most_certain_tag_is_taken():
    assert tag_of({"size": 5, "LastModified": "today", "ETag": '"abc"'}) == "abc"
    assert tag_of({"size": 5, "mtime": 7.5}) == "7.5"
    assert tag_of({"size": 5}) == "5"
