"""Members of a .zip, read with bounded memory whatever its headers say.

Follows PKWARE's APPNOTE.TXT 6.3.10. Python's zipfile is not used: it refuses a whole archive
for one odd name, and unfolds bzip2 and LZMA members without a limit.
"""

from __future__ import annotations

import bz2
import lzma
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from ganpipe.data.sources.base import LARGEST_FILE
from ganpipe.data.sources.members import LARGEST_FOLD, DamagedArchiveError, Member, named

_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64 = struct.Struct("<4sQ2H2L4Q")  # the same for large archives, 20 bytes and more before it
_LOCATOR64 = 20
_ENTRY = struct.Struct("<4sBB5H3L5H2L")  # one file in the central directory
_LOCAL = struct.Struct("<26xHH")  # header before a file's data: lengths of what follows it
_LZMA_HEADER = struct.Struct("<HHBL")  # version, length of the rest, properties, dictionary
_STORED, _DEFLATED, _BZIP2, _LZMA = 0, 8, 12, 14
_ENCRYPTED = 1 | 1 << 6 | 1 << 13
_UNIX = (3, 19)  # systems whose attributes hold st_mode
_LARGEST_DIRECTORY = 2**28
_CHUNK = 2**20


def members(file: BinaryIO, length: int) -> list[Member]:
    """Every file in the zip of `length` bytes, in the order in which they are stored.

    Raises DamagedArchiveError when the directory of the archive cannot be understood.
    """
    start, size, count, shift = _directory(file, length)
    if size > _LARGEST_DIRECTORY:
        raise DamagedArchiveError(f"its directory of {size:,} bytes is beyond all reason")
    file.seek(start)
    directory = file.read(size)
    found, at = [], 0
    while at < size:
        member, at = _member(directory, at, shift)
        found.append(member)
    if at != size or len(found) & 0xFFFF != count & 0xFFFF:
        raise DamagedArchiveError(f"its directory has {len(found)} entries instead of {count}")
    files = (member for member in found if member is not None)
    return list(_within_limits(sorted(files, key=lambda member: member.start), length))


def payloads(file: BinaryIO, wanted: Sequence[Member]) -> Iterator[bytes | None]:
    """The bytes of some members, given in stored order; None for one that is damaged."""
    for member in wanted:
        try:
            yield _payload(file, member)
        except DamagedArchiveError:
            yield None


def _directory(file: BinaryIO, length: int) -> tuple[int, int, int, int]:
    """Start, bytes and entries of the central directory; bytes that were put before the zip."""
    begin = max(0, length - _END.size - 0xFFFF - _LOCATOR64 - _END64.size)
    file.seek(begin)
    tail = file.read(length - begin)
    at = tail.rfind(b"PK\5\6")
    while at >= 0 and (len(tail) < at + _END.size or _comment(tail, at) > len(tail)):
        at = tail.rfind(b"PK\5\6", 0, at)
    if at < 0:
        raise DamagedArchiveError("the directory at its end is missing")
    _, disk, first_disk, _, count, size, offset, _ = _END.unpack_from(tail, at)
    end = begin + at
    at64 = at - _LOCATOR64 - _END64.size
    if (
        at64 >= 0
        and tail[at64 : at64 + 4] == b"PK\6\6"
        and tail[at64 + 56 : at64 + 60] == b"PK\6\7"
    ):
        _, _, _, _, disk, first_disk, _, count, size, offset = _END64.unpack_from(tail, at64)
        end = begin + at64
    if disk not in (0, 0xFFFF) or first_disk not in (0, 0xFFFF):
        raise DamagedArchiveError("it is one part of an archive in several parts")
    start = end - size
    if start < 0 or offset > start:
        raise DamagedArchiveError("its directory lies outside of it")
    return start, size, count, start - offset


def _comment(tail: bytes, at: int) -> int:
    """Where the comment ends that follows the end of the directory at `at`."""
    return at + _END.size + int(_END.unpack_from(tail, at)[7])


def _member(directory: bytes, at: int, shift: int) -> tuple[Member | None, int]:
    """The entry at `at` (None for a folder), and where the next one begins."""
    if len(directory) < at + _ENTRY.size:
        raise DamagedArchiveError("its directory ends too early")
    fields = _ENTRY.unpack_from(directory, at)
    signature, _, system, _, flags, method, _, _, crc, packed, size, *lengths = fields[:14]
    attributes, start = fields[-2:]
    if signature != b"PK\1\2":
        raise DamagedArchiveError("its directory is damaged")
    at += _ENTRY.size
    raw = directory[at : at + lengths[0]]
    extra = directory[at + lengths[0] : at + lengths[0] + lengths[1]]
    size, packed, start = _large(extra, size, packed, start)
    if b"\\" in raw and b"/" not in raw:
        raw = raw.replace(b"\\", b"/")  # as unzip does: old .NET wrote Windows' separators
    at += sum(lengths)
    if raw.endswith(b"/") and not size:
        return None, at
    name, status = named(raw)
    mode = attributes >> 16 if system in _UNIX else 0
    status = status or _status(mode, flags, method, size, packed)
    return Member(name, size, start + shift, status, packed, method, crc), at


def _large(extra: bytes, *values: int) -> list[int]:
    """Size, packed size and offset, each from the zip64 field where 32 bits do not hold it."""
    result, at = list(values), 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        field = extra[at + 4 : at + 4 + length]
        at += 4 + length
        if kind != 1:
            continue
        for number, value in enumerate(result):
            if value == 0xFFFFFFFF and len(field) >= 8:
                result[number] = int.from_bytes(field[:8], "little")
                field = field[8:]
    return result


def _status(mode: int, flags: int, method: int, size: int, packed: int) -> str:
    if stat.S_ISLNK(mode):
        return "symlink"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "not-a-file"
    if flags & _ENCRYPTED:
        return "encrypted"
    if size > LARGEST_FILE or size > LARGEST_FOLD * packed:
        return "too-large"
    known = method in (_DEFLATED, _BZIP2, _LZMA) or (method == _STORED and packed == size)
    return "" if known else "not-readable"


def _within_limits(found: list[Member], length: int) -> Iterator[Member]:
    """The members; `too-large` from where together they have more bytes than the archive.

    They then share the same bytes, which is the trick of the largest bombs.
    """
    packed = 0
    for member in found:
        packed += 0 if member.status else member.packed
        too_large = not member.status and packed > length
        yield replace(member, status="too-large") if too_large else member


def _payload(file: BinaryIO, member: Member) -> bytes:
    file.seek(member.start)
    header = file.read(_LOCAL.size)
    if len(header) != _LOCAL.size or not header.startswith(b"PK\3\4"):
        raise DamagedArchiveError("no header before the data")
    file.seek(member.start + _LOCAL.size + sum(_LOCAL.unpack(header)))
    payload = b"".join(_unfolded(file, member))
    if len(payload) != member.size or zlib.crc32(payload) != member.crc:
        raise DamagedArchiveError("the data are not those of the directory")
    return payload


def _unfolded(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Pieces of a member, up to one byte more than it should have."""
    left, room = member.packed, member.size + 1
    unfolder = _unfolder(file, member)
    while left > 0 and room > 0:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:
            return
        left -= len(chunk)
        if unfolder is not None:
            if unfolder.eof:
                return
            try:
                chunk = unfolder.decompress(chunk, room)
            except (OSError, zlib.error, lzma.LZMAError) as error:
                raise DamagedArchiveError("the data are damaged") from error
        room -= len(chunk)
        yield chunk


def _unfolder(file: BinaryIO, member: Member) -> Any:
    if member.method == _DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS)
    if member.method == _BZIP2:
        return bz2.BZ2Decompressor()
    if member.method == _STORED:
        return None
    header = file.read(_LZMA_HEADER.size)
    if len(header) != _LZMA_HEADER.size or header[4] >= 9 * 5 * 5:
        raise DamagedArchiveError("no LZMA header")
    _, _, bits, dictionary = _LZMA_HEADER.unpack(header)
    one: dict[str, int] = {
        "id": lzma.FILTER_LZMA1,
        "lc": bits % 9,
        "lp": bits // 9 % 5,
        "pb": bits // 45,
    }
    # a dictionary larger than what it unfolds to is of no use, but would take its memory
    one["dict_size"] = min(dictionary, max(member.size, 4096))
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[one])
    except ValueError:
        raise DamagedArchiveError("no LZMA header") from None
