"""Archives: every member read or set aside with a reason, whatever their headers say."""

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganpipe.data.manifest import STATUSES
from ganpipe.data.sources.archive import Archive
from ganpipe.data.sources.tar_members import members as tar_members
from ganpipe.data.sources.zip_members import members as zip_members
from ganpipe.data.sources.zip_members import payloads as zip_payloads
from ganpipe.errors import GanpipeError

FILES = {"cats/1.png": b"one" * 400, "cats/deep/er/2.png": b"", "dogs/3.png": os.urandom(1500)}
KINDS = ["set.zip", "set.tar", "set.tar.gz", "set.tar.bz2", "set.tar.xz"]
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def _pack(path, files):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, payload in files.items():
                archive.writestr(name, payload)
        return path
    kind = path.suffix.removeprefix(".")
    with tarfile.open(path, "w" if kind == "tar" else f"w:{kind}") as archive:
        for name, payload in files.items():
            _add(archive, name, payload)
    return path


def _add(archive, name, payload=b"", **fields):
    member = tarfile.TarInfo(name)
    member.size = len(payload)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(payload))


def _read(path, labels="auto"):
    source = Archive(str(path), labels)
    found = list(source.read(source.entries))
    assert sorted(entry.path for entry, _ in found) == [entry.path for entry in source.entries]
    return {entry.path: (entry.label, entry.status, payload) for entry, payload in found}


def _statuses(path, labels="auto"):
    return {name: status for name, (_, status, _) in _read(path, labels).items()}


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_read_with_their_classes(tmp_path, kind):
    expected = {name: (name.split("/")[0], "", payload) for name, payload in FILES.items()}
    assert _read(_pack(tmp_path / kind, FILES)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_written_and_a_subset_is_read(tmp_path, kind, monkeypatch):
    path = _pack(tmp_path / kind, FILES)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.setenv("TMPDIR", str(empty))
    source = Archive(str(path), "auto")
    wanted = [source.entries[2], source.entries[0]]
    assert {entry.path: payload for entry, payload in source.read(wanted)} == {
        name: FILES[name] for name in ("cats/1.png", "dogs/3.png")
    }
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_one_folder_around_everything_is_no_class(tmp_path, kind):
    path = _pack(tmp_path / kind, {f"my set/{name}": payload for name, payload in FILES.items()})
    assert {name: label for name, (label, _, _) in _read(path).items()} == {
        f"my set/{name}": name.split("/")[0] for name in FILES
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("around", ["", "set/"])
def test_a_table_in_the_archive_gives_classes(tmp_path, kind, around):
    files = {"a/1.png": b"1", "2.png": b"2", "labels.csv": b"file,label\na/1.png,x\n3.png,y\n"}
    path = _pack(tmp_path / kind, {around + name: payload for name, payload in files.items()})
    assert _read(path) == {
        around + "a/1.png": ("x", "", b"1"),
        around + "2.png": ("", "no-label", b""),
        around + "3.png": ("y", "missing", b""),
    }


def test_several_archives_lead_the_paths_of_their_members(tmp_path):
    _pack(tmp_path / "a.zip", {"cats/1.png": b"1"})
    (tmp_path / "sub").mkdir()
    _pack(tmp_path / "sub" / "b.tar.gz", {"set/cats/1.png": b"2", "set/dogs/2.png": b"3"})
    (tmp_path / "README.txt").write_text("no archive")
    (tmp_path / "link.zip").symlink_to("a.zip")
    assert _read(tmp_path) == {
        "README.txt": ("", "beside-archives", b""),
        "a.zip/cats/1.png": ("", "", b"1"),
        "link.zip": ("", "symlink", b""),
        "sub/b.tar.gz/set/cats/1.png": ("cats", "", b"2"),
        "sub/b.tar.gz/set/dogs/2.png": ("dogs", "", b"3"),
    }
    assert Archive(str(tmp_path), "auto").fingerprint()["count"] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_members_and_litter_are_named_and_tar_s_dots_removed(tmp_path, kind):
    names = ["./cats//1.png", "__MACOSX/cats/._1.png", "cats/.DS_Store", "cats/Thumbs.db"]
    statuses = _statuses(_pack(tmp_path / kind, dict.fromkeys(names, b"1")))
    assert statuses == {
        "__MACOSX/cats/._1.png": "hidden",
        "cats/.DS_Store": "hidden",
        "cats/1.png": "",
        "cats/Thumbs.db": "hidden",
    }


HOSTILE = ["../up.png", "a/../../up.png", "/etc/passwd", "C:/a.png", "c:a.png", "..\\up.png"]
HOSTILE += ["a\\..\\..\\up.png", "\\\\host\\share\\a.png"]
ODD = ["a\nb.png", "n" * 4000, "d/" * 1000 + "e.png", "a..b.png", "ünï.png", "-rf", "a\tb", "'; --"]


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_are_set_aside_and_odd_ones_kept(tmp_path, kind):
    statuses = _statuses(_pack(tmp_path / kind, dict.fromkeys(HOSTILE + ODD, b"1")), "none")
    assert sorted(statuses.values()) == [""] * len(ODD) + ["unsafe-name"] * len(HOSTILE)
    assert {name for name, status in statuses.items() if not status} == set(ODD)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice_is_kept_apart(tmp_path, kind):
    path = tmp_path / kind
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for payload in (b"1", b"2", b"3"):
                archive.writestr("a.png", payload)
            archive.writestr("a.png#2", b"4")
    else:
        with tarfile.open(path, f"w:{path.suffix[1:]}" if kind != "set.tar" else "w") as archive:
            for name, payload in (("a.png", b"1"), ("a.png", b"2"), ("a.png", b"3")):
                _add(archive, name, payload)
            _add(archive, "a.png#2", b"4")
    assert {name: payload for name, (_, _, payload) in _read(path).items()} == {
        "a.png": b"1",
        "a.png#2": b"4",
        "a.png#3": b"2",
        "a.png#4": b"3",
    }


def test_bytes_that_are_no_utf8_make_distinct_names(tmp_path):
    path = _pack(tmp_path / "set.zip", {"éé.png": b"1", "èè.png": b"2", "oo.png": b"3"})
    data = path.read_bytes().replace("éé".encode(), b"\xff\xfe\xff\xfe")  # its flag says UTF-8
    path.write_bytes(data.replace(b"oo.png", b"\xf6o.png"))  # and here it does not
    assert set(_statuses(path)) == {"èè.png", "\\xff\\xfe\\xff\\xfe.png", "\\xf6o.png"}
    with tarfile.open(tmp_path / "set.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for name in (b"\xff.png", b"\xfe.png", b"\xff" * 300):
            _add(archive, os.fsdecode(name))
    assert set(_statuses(tmp_path / "set.tar")) == {"\\xff.png", "\\xfe.png", "\\xff" * 300}


def test_windows_separators_are_folders_where_there_are_no_others(tmp_path):
    path = _pack(tmp_path / "set.zip", {"cats\\1.png": b"1", "dogs\\2.png": b"2"})
    assert {name: label for name, (label, _, _) in _read(path).items()} == {
        "cats/1.png": "cats",
        "dogs/2.png": "dogs",
    }


def test_links_devices_and_holes_of_a_tar_are_set_aside(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"1")
    (tmp_path / "in" / "hard.png").hardlink_to(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "link.png").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "in" / "pipe")
    with (tmp_path / "in" / "holes").open("wb") as file:
        for place in range(40):
            file.seek(place * 10**5)
            file.write(b"1" * 4096)
    for form in ("gnu", "pax"):
        command = ["tar", "-S", "--sort=name", f"--format={form}", "-cf", tmp_path / "set.tar"]
        subprocess.run([*command, "-C", tmp_path / "in", "."], check=True)
        assert _statuses(tmp_path / "set.tar") == {
            "a.png": "",
            "hard.png": "symlink",
            "link.png": "symlink",
            "pipe": "not-a-file",
            "holes": "not-readable",
        }
    with tarfile.open(tmp_path / "devices.tar", "w") as archive:
        _add(archive, "disk", type=tarfile.BLKTYPE)
        _add(archive, "a.png", b"1")
    assert _statuses(tmp_path / "devices.tar") == {"disk": "not-a-file", "a.png": ""}


def test_links_in_a_zip_are_set_aside(tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    (tmp_path / "link.png").symlink_to("/etc/passwd")
    command = ["zip", "-q", "--symlinks", "set.zip", "a.png", "link.png"]
    subprocess.run(command, cwd=tmp_path, check=True)
    with zipfile.ZipFile(tmp_path / "set.zip", "a") as archive:
        pipe = zipfile.ZipInfo("pipe")
        pipe.external_attr = 0o010644 << 16
        archive.writestr(pipe, b"")
    assert _statuses(tmp_path / "set.zip") == {
        "a.png": "",
        "link.png": "symlink",
        "pipe": "not-a-file",
    }


def test_encrypted_members_are_set_aside(tmp_path):
    (tmp_path / "a.png").write_bytes(b"secret")
    subprocess.run(["zip", "-q", "-P", "word", "set.zip", "a.png"], cwd=tmp_path, check=True)
    with zipfile.ZipFile(tmp_path / "set.zip", "a") as archive:
        archive.writestr("b.png", b"1")
    assert _statuses(tmp_path / "set.zip") == {"a.png": "encrypted", "b.png": ""}


@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_member_does_not_harm_the_others(tmp_path, method):
    payload = os.urandom(4000)
    with zipfile.ZipFile(tmp_path / "set.zip", "w", method) as archive:
        for name in ("a", "b", "c"):
            archive.writestr(name, payload)
        middle = archive.getinfo("b").header_offset
    data = bytearray((tmp_path / "set.zip").read_bytes())
    for place in range(middle + 200, middle + 300):
        data[place] ^= 0xFF
    (tmp_path / "set.zip").write_bytes(data)
    assert _statuses(tmp_path / "set.zip") == {"a": "", "b": "not-readable", "c": ""}


def test_an_unknown_compression_is_not_readable(tmp_path):
    path = _pack(tmp_path / "set.zip", {"a.png": b"1", "b.png": b"2"})
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\1\2")
    data[directory + 10 : directory + 12] = struct.pack("<H", 98)  # PPMd
    path.write_bytes(data)
    assert _statuses(path) == {"a.png": "not-readable", "b.png": ""}


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_member_that_unfolds_a_thousand_fold_is_set_aside(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "set.zip", "w", method) as archive:
        archive.writestr("bomb", bytes(30_000_000))
        archive.writestr("a.png", b"1")
    assert _statuses(tmp_path / "set.zip") == {"bomb": "too-large", "a.png": ""}


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_member_that_hides_its_size_takes_no_memory(tmp_path, method):
    """The header says 1,000 bytes; a reader that believes it until the end unfolds 40 MB."""
    with zipfile.ZipFile(tmp_path / "set.zip", "w", method) as archive:
        archive.writestr("bomb", bytes(40_000_000))
    data = bytearray((tmp_path / "set.zip").read_bytes())
    directory = data.index(b"PK\1\2")
    data[directory + 24 : directory + 28] = struct.pack("<L", 1000)
    (tmp_path / "set.zip").write_bytes(data)
    source = Archive(str(tmp_path / "set.zip"), "auto")
    tracemalloc.start()
    assert [entry.status for entry, _ in source.read(source.entries)] == ["not-readable"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_members_over_the_same_bytes_are_set_aside(tmp_path):
    """As in the bombs of D. Fifield, "A better zip bomb", WOOT 2019: one kernel, many entries."""
    path = _pack(tmp_path / "set.zip", {"a.png": bytes(100_000)})
    data = path.read_bytes()
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry, count = data[start:end], 2000
    entries = b"".join(entry.replace(b"a.png", f"{n:05d}".encode()) for n in range(count))
    size, offset = struct.pack("<LL", len(entries), start), data[end + 20 :]
    end_record = data[end : end + 8] + struct.pack("<HH", count, count) + size + offset
    path.write_bytes(data[:start] + entries + end_record)
    with zipfile.ZipFile(path) as archive:
        assert sum(member.file_size for member in archive.infolist()) == 100_000 * count
    statuses = [entry.status for entry in Archive(str(path), "auto").entries]
    possible = len(path.read_bytes()) // archive.getinfo("00000").compress_size
    assert statuses == [""] * possible + ["too-large"] * (count - possible)


@pytest.mark.parametrize("kind", KINDS[2:])
def test_a_tar_that_unfolds_a_thousand_fold_is_cut_off(tmp_path, kind):
    path = _pack(tmp_path / kind, {"a.png": b"1", "bomb": bytes(80_000_000), "b.png": b"2"})
    assert 1000 * path.stat().st_size < 80_000_000
    assert _statuses(path) == {"a.png": "", "bomb": "too-large", "b.png": ""}


def test_a_tar_bomb_ends_the_listing_before_it_takes_for_ever(tmp_path):
    piece = bz2.compress(bytes(50_000_000))
    member = tarfile.TarInfo("bomb")
    member.size = 200 * 50_000_000
    (tmp_path / "set.tar.bz2").write_bytes(bz2.compress(member.tobuf()) + piece * 200)
    assert _statuses(tmp_path / "set.tar.bz2") == {"bomb": "too-large"}


def test_what_is_above_half_a_gib_is_set_aside_unread(tmp_path):
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        _add(archive, "a.png", b"1")
    data = (tmp_path / "set.tar").read_bytes()
    film = tarfile.TarInfo("film")
    film.size = 2**29 + 512
    with (tmp_path / "set.tar").open("wb") as file:
        file.write(film.tobuf())
        file.seek(film.size, os.SEEK_CUR)
        file.write(data)
    assert _statuses(tmp_path / "set.tar") == {"film": "too-large", "a.png": ""}


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_cut_off_anywhere_is_named_as_damaged(tmp_path, kind):
    whole = _pack(tmp_path / kind, FILES).read_bytes()
    # the zeros after tar's end mark hold nothing
    last = len(whole) - (tarfile.RECORDSIZE if kind == "set.tar" else 1)
    for end in {*range(0, last, max(1, last // 40)), 512, 1536, last}:
        if end > last:
            continue
        (tmp_path / kind).write_bytes(whole[:end])
        with pytest.raises(GanpipeError, match=f"{kind} is damaged"):
            _ = Archive(str(tmp_path / kind), "auto").entries


def test_a_damaged_header_in_a_tar_does_not_end_it_in_silence(tmp_path):
    path = _pack(tmp_path / "set.tar", FILES)
    data = bytearray(path.read_bytes())
    data[data.index(b"cats/deep")] ^= 1
    path.write_bytes(data)
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["cats/1.png"]  # as Python's tarfile does
    with pytest.raises(GanpipeError, match="a header in it is damaged"):
        _ = Archive(str(path), "auto").entries


def test_tars_one_after_another_are_all_read(tmp_path):
    first, second = (_pack(tmp_path / f"{n}.tar", {f"{n}.png": b"1"}) for n in "ab")
    data = first.read_bytes() + second.read_bytes()
    for path, payload in (("c.tar", data), ("c.tar.gz", gzip.compress(data))):
        (tmp_path / path).write_bytes(payload)
        assert set(_statuses(tmp_path / path)) == {"a.png", "b.png"}
    (tmp_path / "d.tar.gz").write_bytes(gzip.compress(data[:5000]) + gzip.compress(data[5000:]))
    assert set(_statuses(tmp_path / "d.tar.gz")) == {"a.png", "b.png"}


@pytest.mark.parametrize("content", [b"", b"hello", bytes(10_240), b"Rar!\x1a\7\0" + bytes(600)])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_archive_is_refused_with_its_name(tmp_path, kind, content):
    (tmp_path / kind).write_bytes(content)
    with pytest.raises(GanpipeError, match=kind):
        _ = Archive(str(tmp_path / kind), "auto").entries


def test_a_gzipped_file_that_is_no_tar_is_refused(tmp_path):
    for name, pack in (("a.tar.gz", gzip), ("a.tar.bz2", bz2), ("a.tar.xz", lzma)):
        (tmp_path / name).write_bytes(pack.compress(b"hello" * 1000))
        with pytest.raises(GanpipeError, match=name):
            _ = Archive(str(tmp_path / name), "auto").entries


def test_what_is_missing_or_no_archive_is_refused(tmp_path):
    with pytest.raises(GanpipeError, match="No such file"):
        Archive(str(tmp_path / "a.zip"), "auto")
    with pytest.raises(GanpipeError, match="holds no files"):
        Archive(str(tmp_path), "auto")
    (tmp_path / "a.png").touch()
    with pytest.raises(GanpipeError, match=r"set data\.source=folder"):
        Archive(str(tmp_path), "auto")


def test_an_archive_that_grew_keeps_the_tags_of_its_members(tmp_path):
    path = _pack(tmp_path / "set.zip", FILES)
    before = Archive(str(path), "auto")
    assert len(before.entries) == 3
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("dogs/4.png", b"new")
    after = Archive(str(path), "auto")
    assert set(before.entries) < set(after.entries)
    assert before.fingerprint()["digest"] != after.fingerprint()["digest"]


def test_the_fingerprint_lists_no_members(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"damaged")
    fingerprint = Archive(str(tmp_path / "set.zip"), "auto").fingerprint()
    assert {key: fingerprint[key] for key in ("source", "count", "bytes")} == {
        "source": "archive",
        "count": 1,
        "bytes": 7,
    }


def test_an_archive_that_changes_meanwhile_is_not_read(tmp_path):
    path = _pack(tmp_path / "set.zip", FILES)
    source = Archive(str(path), "auto")
    assert source.entries
    os.utime(path, ns=(1, 1))
    with pytest.raises(GanpipeError, match="changed while it was read"):
        list(source.read(source.entries))


def test_a_prefix_and_a_comment_do_not_matter(tmp_path):
    path = _pack(tmp_path / "set.zip", FILES)
    path.write_bytes(b"#!/bin/sh\n" * 100 + path.read_bytes())  # a self-extracting archive
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"PK\5\6 " * 1000
    assert set(_statuses(path).values()) == {""}


_names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/\\:."), min_size=1, max_size=150
)
_files = st.dictionaries(_names, st.binary(max_size=2000), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(files=_files, method=st.sampled_from(METHODS), large=st.booleans(), stream=st.booleans())
def test_zips_are_read_as_python_wrote_them(files, method, large, stream):
    class Pipe(io.BytesIO):
        def seekable(self):
            return not stream

        def seek(self, *where):
            if stream:
                raise OSError
            return super().seek(*where)

    file = Pipe()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, payload in files.items():
            with archive.open(name, "w", force_zip64=large) as member:
                member.write(payload)
    length = len(file.getvalue())
    found = zip_members(io.BytesIO(file.getvalue()), length)
    assert [member.name for member in found] == list(files)
    readable = [member for member in found if member.status != "too-large"]
    payloads = list(zip_payloads(io.BytesIO(file.getvalue()), readable))
    assert payloads == [files[member.name] for member in readable]
    assert [member.crc for member in found] == [zlib.crc32(payload) for payload in files.values()]


@settings(max_examples=60, deadline=None)
@given(
    files=_files,
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    folder=st.sampled_from(["", "d" * 90 + "/", ("e" * 60 + "/") * 5]),
)
def test_tars_are_read_as_python_wrote_them(files, form, folder):
    file = io.BytesIO()
    written = {}
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, payload in files.items():
            try:
                _add(archive, folder + name, payload, mtime=1.5)
            except ValueError:  # too long for ustar
                continue
            written[folder + name] = payload
    data = file.getvalue()
    found = tar_members(io.BytesIO(data), len(data), compressed=False, seekable=True)
    assert {m.name: data[m.start : m.start + m.size] for m in found} == written


def test_the_end_record_of_large_zips_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)  # instead of 65,535
    path = _pack(tmp_path / "set.zip", FILES)
    assert b"PK\6\6" in path.read_bytes()
    assert {name: payload for name, (_, _, payload) in _read(path).items()} == FILES


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damage_is_a_status_or_an_error_with_the_name(kind, edits, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "damage"
    folder.mkdir(exist_ok=True)
    path = folder / kind
    data = bytearray(_pack(path, FILES).read_bytes())
    for place, value in edits:
        data[int(place * len(data))] = value
    path.write_bytes(data)
    try:
        found = _read(path)
    except GanpipeError as error:
        assert kind in str(error)  # noqa: PT017 - either is right
    else:
        assert {status for _, status, _ in found.values()} <= {"", *STATUSES}
    assert {entry.name for entry in Path(folder).iterdir()} <= set(KINDS)
