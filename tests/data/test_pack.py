"""Tar shards: what is packed comes out again, with ganpipe and with any tar tool."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ganpipe.data import pack
from ganpipe.data.pack import Member, ShardReader, extent, offsets, record, signature, write_shard

# what a file system or an archive may call a file, but no NUL and no folder
names = st.one_of(
    st.text(min_size=1, max_size=12),
    st.text(st.characters(codec="ascii"), min_size=95, max_size=105),
    st.text(min_size=1, max_size=8).map(lambda text: (text + "/") * 40 + "x"),
    st.integers(1, 4000).map(lambda length: "n" * length),
    st.sampled_from(["two\nlines", "a b", "-", "é" * 50, "\U0001f600" * 30, "x\ty", "./a", "a=b"]),
).filter(lambda name: "\0" not in name and not name.endswith("/"))
piles = st.dictionaries(names, st.binary(max_size=1200), max_size=12)


def members_of(files: dict[str, bytes]) -> list[Member]:
    return [
        Member(path, len(files[path]), hashlib.sha256(files[path]).hexdigest())
        for path in sorted(files)
    ]


def packed(files: dict[str, bytes], path: Path) -> list[Member]:
    members = members_of(files)
    write_shard(path, (record(member, files[member.path]) for member in members))
    return members


@settings(deadline=None, max_examples=150)
@given(piles)
def test_what_is_packed_comes_out_again(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.tar"
        members = packed(files, path)
        with ShardReader() as reader:
            places = offsets(members).tolist()
            found = {
                member.path: reader.read(path, place, member.size)
                for member, place in zip(members, places, strict=True)
            }
        assert found == files
        with tarfile.open(path) as tar:
            listed = [(m.name, m.offset_data, tar.extractfile(m).read()) for m in tar]
        assert listed == [
            (member.path, place, files[member.path])
            for member, place in zip(members, places, strict=True)
        ]


@settings(deadline=None)
@given(
    st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=100),
    st.one_of(st.integers(0, 3000), st.sampled_from([8**11 - 1, 8**11, 2**40])),
)
def test_headers_are_those_that_the_standard_library_writes(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    assert pack._header(Member(name, size, "")) == info.tobuf(tarfile.PAX_FORMAT)


def test_the_tar_command_lists_and_extracts_a_shard(tmp_path: Path) -> None:
    files = {"a/1.png": b"one", "long/" * 50 + "2.png": b"two", "drei \u00fc.png": b"3" * 600}
    path = tmp_path / "x.tar"
    packed(files, path)
    listed = subprocess.run(
        ["tar", "--quoting-style=literal", "-tf", str(path)], capture_output=True, check=True
    )
    assert listed.stderr == b""
    assert listed.stdout.decode().splitlines() == sorted(files)
    subprocess.run(["tar", "-xf", str(path), "-C", str(tmp_path)], check=True)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


@settings(deadline=None)
@given(piles.filter(bool), st.data())
def test_a_signature_decides_the_bytes(files: dict[str, bytes], data: st.DataObject) -> None:
    members = members_of(files)
    assert signature(members) == signature(members_of(dict(reversed(files.items()))))
    path = data.draw(st.sampled_from(sorted(files)))
    fewer = {name: payload for name, payload in files.items() if name != path}
    renamed = {**fewer, path + "'": files[path]}
    others = [fewer, renamed, {**files, path: files[path] + b"x"}, {**files, path: b"other"}]
    for other in others:
        assert (signature(members_of(other)) == signature(members)) == (other == files)


def test_extents_are_the_records(tmp_path: Path) -> None:
    """Runs of them are copied from one shard to another as they lie."""
    files = {"a": b"1" * 700, "b/" + "x" * 200: b"", "c\u00e9": b"2" * 512, "d": b"3"}
    members = packed(files, tmp_path / "x.tar")
    shard = (tmp_path / "x.tar").read_bytes()
    end = 0
    for member, offset in zip(members, offsets(members).tolist(), strict=True):
        start, stop = extent(member, offset)
        assert start == end
        assert shard[start:stop] == record(member, files[member.path])
        end = stop
    assert shard[end:] == bytes(1024)
