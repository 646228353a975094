"""Original bytes in uncompressed tar files: any tool unpacks them, DVC moves few big files."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHARD_BYTES = 512 * 2**20  # the most; content-defined cuts make the mean about half of it
_BLOCK = tarfile.BLOCKSIZE
_BUFFER = 2**20  # bytes


class Member(NamedTuple):
    """One file to pack."""

    path: str
    size: int
    sha256: str


def signature(members: Sequence[Member]) -> str:
    """Hexadecimal digest that decides every byte of a shard."""
    digest = hashlib.sha256()
    for member in members:
        digest.update(f"{member.path}\0{member.size}\0{member.sha256}\n".encode())
    return digest.hexdigest()


def write_shard(path: Path, records: Iterable[bytes]) -> None:
    """Write records one after another: of a member each, or of several copied from a shard."""
    with path.open("wb", buffering=_BUFFER) as shard:
        for each in records:
            shard.write(each)
        shard.write(bytes(2 * _BLOCK))


def record(member: Member, content: bytes) -> bytes:
    """All that a shard holds of a member: header, bytes, and zeros up to a whole block."""
    return b"".join((_header(member), content, bytes(-len(content) % _BLOCK)))


def extent(member: Member, offset: int) -> tuple[int, int]:
    """Where the record of a member begins and ends whose bytes begin at `offset`."""
    header = _BLOCK if _is_plain(member) else len(_header(member))
    return offset - header, offset - -member.size // _BLOCK * _BLOCK


def offsets(members: Sequence[Member]) -> NDArray[np.int64]:
    """Where each member's bytes begin in its shard: int64 [members], in bytes."""
    headers = np.array(
        [_BLOCK if _is_plain(member) else len(_header(member)) for member in members],
        dtype=np.int64,
    )
    sizes = np.array([member.size for member in members], dtype=np.int64)
    steps = headers + -(-sizes // _BLOCK) * _BLOCK
    ends: NDArray[np.int64] = np.cumsum(steps)
    return ends - steps + headers


class ShardReader:
    """Reads bytes at known places; the shard that was read last stays open."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: IO[bytes] | None = None

    def read(self, path: Path, offset: int, size: int) -> bytes:
        if self._file is None or (path is not self._path and path != self._path):
            self.close()
            self._path, self._file = path, path.open("rb", buffering=0)
        return os.pread(self._file.fileno(), size, offset)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_plain(member: Member) -> bool:
    """Whether one block says all: most names and sizes."""
    path = member.path
    return (
        len(path) <= tarfile.LENGTH_NAME
        and path.isascii()
        and not path.endswith("/")
        and member.size < 8**11
    )


def _header(member: Member) -> bytes:
    """A pax header of owner, time and rights that never vary."""
    if not _is_plain(member):
        info = tarfile.TarInfo(member.path)
        info.size = member.size
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    # what tarfile writes, twenty times as fast
    name, size = member.path.encode(), b"%011o\0" % member.size
    block = bytearray(_EMPTY)
    block[: len(name)] = name
    block[124:136] = size
    block[148:156] = b"%06o\0\x20" % (_EMPTY_SUM + sum(name) + sum(size))
    return bytes(block)


_EMPTY = bytearray(tarfile.TarInfo("x").tobuf(tarfile.PAX_FORMAT))
_EMPTY[0:1], _EMPTY[124:136], _EMPTY[148:156] = b"\0", bytes(12), bytes(8)
_EMPTY_SUM = sum(_EMPTY) + 8 * 0x20  # the sum counts its own place as blanks
