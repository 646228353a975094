"""Original bytes in uncompressed tar files: any tool unpacks them, DVC moves few big files."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

SHARD_BYTES = 512 * 2**20  # the most; content-defined cuts make the mean about half of it
_BLOCK = tarfile.BLOCKSIZE
_LONGEST_PLAIN_NAME = tarfile.LENGTH_NAME


@dataclass(frozen=True)
class Member:
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


def write_shard(path: Path, members: Sequence[Member], contents: Iterable[bytes]) -> None:
    """Write members in their order, with the bytes of each."""
    with path.open("wb") as shard:
        for member, content in zip(members, contents, strict=True):
            shard.write(_header(member))
            shard.write(content)
            shard.write(bytes(-len(content) % _BLOCK))
        shard.write(bytes(2 * _BLOCK))


def offsets(members: Sequence[Member]) -> NDArray[np.int64]:
    """Where each member's bytes begin in its shard: int64 [members], in bytes."""
    headers = np.array([len(_header(member)) for member in members], dtype=np.int64)
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
        if self._file is None or path != self._path:
            self.close()
            self._path, self._file = path, path.open("rb")
        self._file.seek(offset)
        return self._file.read(size)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _header(member: Member) -> bytes:
    """A pax header of owner, time and rights that never vary."""
    name = member.path.encode("utf-8", "surrogateescape")
    plain = len(name) <= _LONGEST_PLAIN_NAME and member.path.isascii() and member.size < 8**11
    if not plain or name.endswith(b"/"):
        info = tarfile.TarInfo(member.path)
        info.size = member.size
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    block = bytearray(_BLOCK)
    block[: len(name)] = name
    block[100:] = _TEMPLATE[100:]
    block[124:136] = b"%011o\0" % member.size
    checksum = sum(block[:148]) + sum(block[156:]) + 8 * 0x20
    block[148:156] = b"%06o\0\x20" % checksum
    return bytes(block)


_TEMPLATE = tarfile.TarInfo("x").tobuf(tarfile.PAX_FORMAT)
