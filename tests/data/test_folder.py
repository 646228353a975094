"""Folders of images: what is listed, what is set aside, what is read."""

import json
import os

import pytest
from PIL import Image

from ganpipe.data.sources import make_source, refresh
from ganpipe.data.sources.folder import Folder
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json
from ganpipe.params import DataParams


def _picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value, 0, 0)).save(path)


def _statuses(source):
    return {
        entry.path: (entry.status, len(payload)) for entry, payload in source.read(source.entries)
    }


def test_sub_folders_are_classes_and_order_is_by_path(tmp_path):
    for name in ("dogs/b.png", "cats/deep/er/a.png", "cats/z.png", ".hidden/x.png"):
        _picture(tmp_path / name)
    source = Folder(str(tmp_path), "auto")
    assert [(entry.path, entry.label) for entry in source.entries] == [
        (".hidden", ""),
        ("cats/deep/er/a.png", "cats"),
        ("cats/z.png", "cats"),
        ("dogs/b.png", "dogs"),
    ]


def test_order_is_by_code_points_also_where_bytes_and_names_differ(tmp_path):
    for name in (b"z.png", "é.png".encode(), b"\xff.png", "\U0001f600.png".encode(), b"Z/a.png"):
        _picture(tmp_path / "x.png")
        (tmp_path / "Z").mkdir(exist_ok=True)
        (tmp_path / "x.png").rename(tmp_path / os.fsdecode(name))
    paths = [entry.path for entry in Folder(str(tmp_path), "auto").entries]
    assert paths == sorted(paths)
    assert len(paths) == 5


def test_what_is_read_is_what_lies_there(tmp_path):
    for number in range(5):
        _picture(tmp_path / f"{number}.png", number)
    source = Folder(str(tmp_path), "auto")
    wanted = [source.entries[3], source.entries[1]]
    found = {entry.path: payload for entry, payload in source.read(wanted)}
    assert found == {f"{n}.png": (tmp_path / f"{n}.png").read_bytes() for n in (1, 3)}


def test_hidden_files_and_litter_are_named_but_never_looked_at(tmp_path):
    for name in ("a.png", "__MACOSX/x/a.png", "b/.a.png"):
        _picture(tmp_path / name)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._a.png"):
        (tmp_path / name).touch()
    statuses = _statuses(Folder(str(tmp_path), "auto"))
    hidden = [".DS_Store", "._a.png", "Thumbs.db", "__MACOSX", "b/.a.png", "desktop.ini"]
    assert [path for path, (status, _) in statuses.items() if status == "hidden"] == hidden
    assert statuses["a.png"][0] == ""
    before = Folder(str(tmp_path), "auto").fingerprint()
    (tmp_path / ".DS_Store").write_text("what the system wrote when somebody looked")
    assert Folder(str(tmp_path), "auto").fingerprint() == before


def test_links_are_listed_but_not_followed(tmp_path):
    _picture(tmp_path / "a.png")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "passwords.png").symlink_to("/etc/passwd")
    statuses = _statuses(Folder(str(tmp_path), "auto"))
    assert statuses["loop"] == ("symlink", 0)
    assert statuses["passwords.png"] == ("symlink", 0)


def test_what_is_no_plain_file_is_never_opened(tmp_path):
    _picture(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "film.mkv").open("wb") as film:
        film.truncate(2**29 + 1)
    found = _statuses(Folder(str(tmp_path), "auto"))
    assert found["pipe.png"] == ("not-a-file", 0)
    assert found["film.mkv"] == ("too-large", 0)
    assert found["a.png"][0] == ""


def test_a_disk_that_fails_ends_the_reading(tmp_path):
    """Set aside, the file would be missing for good: its tag stays the same."""
    _picture(tmp_path / "a.png")
    source = Folder(str(tmp_path), "auto")
    entries = source.entries
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.png").symlink_to("a.png")  # reading it fails for no reason of permission
    with pytest.raises(GanpipeError, match=r"a\.png cannot be read .*run again"):
        list(source.read(entries))


def test_files_that_go_away_meanwhile_are_set_aside(tmp_path):
    for name in ("a.png", "b.png", "c/d.png", "e/f.png"):
        _picture(tmp_path / name)
    source = Folder(str(tmp_path), "auto")
    assert len(source.entries) == 4
    (tmp_path / "b.png").unlink()
    (tmp_path / "c" / "d.png").unlink()
    (tmp_path / "c").rmdir()
    (tmp_path / "c").touch()
    (tmp_path / "e" / "f.png").unlink()
    (tmp_path / "e" / "f.png").mkdir()
    statuses = {path: status for path, (status, _) in _statuses(source).items()}
    assert statuses == {
        "a.png": "",
        "b.png": "missing",
        "c/d.png": "missing",
        "e/f.png": "missing",
    }


def test_names_that_are_no_utf8_are_kept_apart_and_read(tmp_path):
    names = [b"\xff.png", b"\xfe.png", b"\\xff.png", "é.png".encode(), b"a\nb.png"]
    for number, name in enumerate(names):
        (tmp_path / os.fsdecode(name)).write_bytes(bytes(number + 1))
    source = Folder(str(tmp_path), "auto")
    found = {entry.path: len(payload) for entry, payload in source.read(source.entries)}
    assert found == {"\\xff.png#2": 1, "\\xfe.png": 2, "\\xff.png": 3, "é.png": 4, "a\nb.png": 5}
    for entry in source.entries:
        entry.path.encode()


def test_a_changed_file_has_another_tag(tmp_path):
    _picture(tmp_path / "a.png")
    before = Folder(str(tmp_path), "auto").entries[0]
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert before.tag != Folder(str(tmp_path), "auto").entries[0].tag == "1"


def test_a_table_at_the_root_gives_classes_and_is_no_image(tmp_path):
    for name in ("1.png", "sub/2.png", "3.png"):
        _picture(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,label\n1.png,one\nsub/2.png,two\n9.png,one\n")
    told = {e.path: (e.label, e.status) for e in Folder(str(tmp_path), "auto").entries}
    assert told == {
        "1.png": ("one", ""),
        "3.png": ("", "no-label"),
        "9.png": ("one", "missing"),
        "sub/2.png": ("two", ""),
    }
    by_folder = Folder(str(tmp_path), "folders").entries
    assert [(e.path, e.label) for e in by_folder if not e.status] == [("sub/2.png", "sub")]
    with pytest.raises(GanpipeError, match=r"sub holds no labels\.csv"):
        _ = Folder(str(tmp_path / "sub"), "file").entries


def test_a_table_that_is_a_link_is_not_followed_but_listed(tmp_path):
    _picture(tmp_path / "1.png")
    (tmp_path / "labels.csv").symlink_to("/etc/passwd")
    told = {entry.path: entry.status for entry in Folder(str(tmp_path), "auto").entries}
    assert told == {"1.png": "", "labels.csv": "symlink"}


def test_every_byte_of_the_table_counts_for_the_fingerprint(tmp_path):
    _picture(tmp_path / "1.png")
    digests = set()
    for extra in ("x", "y"):
        line = json.dumps({"file_name": "1.png", "label": "a", "ignored": extra})
        (tmp_path / "metadata.jsonl").write_text(line)
        digests.add(Folder(str(tmp_path), "auto").fingerprint()["digest"])
    assert len(digests) == 2


def test_the_fingerprint_tells_a_change_and_nothing_else(tmp_path):
    _picture(tmp_path / "set" / "a.png")
    params = DataParams(source="folder", path=str(tmp_path / "set"))
    first = refresh(params, tmp_path)
    assert list(first) == ["source", "count", "bytes", "digest"]
    written = (tmp_path / "data" / "source.json").stat().st_mtime_ns
    assert refresh(params, tmp_path) == first == read_json(tmp_path / "data" / "source.json")
    assert (tmp_path / "data" / "source.json").stat().st_mtime_ns == written
    _picture(tmp_path / "set" / "b.png")
    assert refresh(params, tmp_path)["digest"] != first["digest"]


def test_a_file_url_is_a_path(tmp_path):
    _picture(tmp_path / "my pictures" / "a.png")
    url = (tmp_path / "my pictures").as_uri()
    assert "%20" in url
    source = make_source(DataParams(source="folder", path=url))
    assert [entry.path for entry in source.entries] == ["a.png"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nowhere", "does not exist"),
        (lambda folder: folder, "holds no files"),
        (lambda folder: folder / "file.txt", "is a file"),
        (lambda folder: folder / "set.tar.gz", "data.source=archive"),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(tmp_path, make, words):
    path = make(tmp_path)
    if path.suffix:
        path.touch()
    with pytest.raises(GanpipeError, match=words):
        make_source(DataParams(source="folder", path=str(path))).fingerprint()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(GanpipeError, match="locked"):
        _ = Folder(str(tmp_path), "auto").entries
