"""Members of a .tar, plain or compressed, read forwards with bounded memory.

Follows POSIX.1-2001 (pax), GNU tar's and V7's headers. Python's tarfile is not used: it takes a
damaged header for the end of the archive, so that files would be dropped in silence, and reads
extended headers of any size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from ganpipe.data.sources.base import LARGEST_FILE
from ganpipe.data.sources.members import LARGEST_FOLD, DamagedArchiveError, Member, named

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_LARGEST_HEADER = 2**20
_CHUNK = 2**20
_HEADERS = b"xXgLK"  # what is said of the next member (pax, Solaris, GNU) or of all (g)
_LINKS, _DEVICES = b"12", b"346"
_POINTERS = _LINKS + _DEVICES + b"5"
_FOLDERS_AND_NOTES = b"5DV"  # folders, their listings (GNU), the name of the volume (GNU)


class Forward:
    """A file that is read forwards only, by seeking where it can."""

    def __init__(self, file: BinaryIO, seekable: bool) -> None:
        self.file = file
        self.seekable = seekable
        self.at = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end."""
        pieces = []
        while size > 0 and (piece := self.file.read(min(size, _CHUNK))):
            pieces.append(piece)
            size -= len(piece)
            self.at += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def skip_to(self, position: int) -> None:
        """Go on at `position`; at the end of the file where that is beyond it."""
        if self.seekable and position != self.at:
            self.at = self.file.seek(position)
        while self.at < position and self.read(min(position - self.at, _CHUNK)):
            pass


def members(file: BinaryIO, length: int, compressed: bool, seekable: bool) -> list[Member]:
    """Every file in the unfolded tar, in the order in which they are stored.

    `length` is the archive's, in bytes as it lies on the disk. Members are `too-large` that
    would bring the sum to more than a thousand times as much; what lies behind another half GiB
    of such is not looked for. Raises DamagedArchiveError where the tar does not go on as a tar
    does, or ends without its end mark.
    """
    stream = Forward(file, seekable)
    furthest = LARGEST_FOLD * length + LARGEST_FILE if compressed else length
    found: list[Member] = []
    notes: dict[bytes, bytes] = {}
    for_all: dict[bytes, bytes] = {}
    total, ended = 0, False
    while (block := stream.read(_BLOCK)) and stream.at <= furthest:
        ended = block == _ZEROS
        if ended:
            continue
        size, kind = _checked(block)
        if kind in _HEADERS:
            _note(kind, stream.read(_header_size(size)), notes, for_all)
            _skip(stream, stream.at + -size % _BLOCK)
            continue
        said, notes = {**for_all, **notes}, {}
        size = _number(said.get(b"size", b""), size)
        member = _member(block, kind, said, size, stream)
        if member is not None and not member.status:
            total += size
            if compressed and total > LARGEST_FOLD * length:
                member, total = _too_large(member), total - size
        if member is not None:
            found.append(member)
        # the size of what is no file is that of the file which it points to
        end = stream.at + (0 if kind in _POINTERS else size + -size % _BLOCK)
        if compressed and end > furthest:
            return found
        if end > furthest:
            raise DamagedArchiveError("it ends in the middle of a file")
        _skip(stream, end)
    if not ended:
        raise DamagedArchiveError("it ends without tar's end mark, so something may be missing")
    return found


def payloads(file: BinaryIO, wanted: Sequence[Member], seekable: bool) -> Iterator[bytes]:
    """The bytes of some members, given in stored order."""
    stream = Forward(file, seekable)
    for member in wanted:
        stream.skip_to(member.start)
        payload = stream.read(member.size)
        if len(payload) != member.size:
            raise DamagedArchiveError("it ends in the middle of a file")
        yield payload


def _checked(block: bytes) -> tuple[int, bytes]:
    """Size and kind of the header; raises DamagedArchiveError when it is none."""
    if len(block) != _BLOCK:
        raise DamagedArchiveError("it ends in the middle of a header")
    # the sum counts its own field as blanks
    total = sum(block) - sum(block[148:156]) + 8 * 32
    said = _octal(block[148:156])
    if said != total:
        # some old programs summed signed bytes
        signed = total - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
        if said != signed:
            raise DamagedArchiveError("a header in it is damaged, or it is no tar")
    return _octal(block[124:136]), block[156:157]


def _octal(field: bytes) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0", 1)[0].strip()
    if text.strip(b"01234567"):
        raise DamagedArchiveError(f"a header in it has no number but {text[:12]!r}")
    return int(text or b"0", 8)


def _number(text: bytes, otherwise: int) -> int:
    if not text:
        return otherwise
    if not text.isdigit() or len(text) > 20:
        raise DamagedArchiveError(f"a header in it has no size but {text[:12]!r}")
    return int(text)


def _header_size(size: int) -> int:
    if size > _LARGEST_HEADER:
        raise DamagedArchiveError(f"an extended header of {size:,} bytes is beyond all reason")
    return size


def _records(body: bytes) -> dict[bytes, bytes]:
    """Keys and values of a pax header: `LENGTH KEY=VALUE\\n`, again and again."""
    records, at = {}, 0
    while at < len(body) and body[at]:
        blank = body.find(b" ", at, at + 8)
        end = at + _number(body[at : max(blank, at)], 0)
        key, equals, value = body[blank + 1 : end - 1].partition(b"=")
        if blank < 0 or end > len(body) or not equals or body[end - 1 : end] != b"\n":
            raise DamagedArchiveError("an extended header in it is damaged")
        records[key] = value
        at = end
    return records


def _note(kind: bytes, body: bytes, notes: dict[bytes, bytes], for_all: dict[bytes, bytes]) -> None:
    """Keep what an extended header says."""
    if kind == b"L":
        notes[b"path"] = body.rstrip(b"\0")
    elif kind == b"g":
        for_all |= _records(body)
    elif kind != b"K":  # the target of a link, which is not followed
        notes |= _records(body)


def _skip(stream: Forward, end: int) -> None:
    stream.skip_to(end)
    if stream.at != end:
        raise DamagedArchiveError("it ends in the middle of a file")


def _member(
    block: bytes, kind: bytes, notes: dict[bytes, bytes], size: int, stream: Forward
) -> Member | None:
    """The member of a header, None for a folder; the stream is then where its data begin."""
    raw = notes.get(b"GNU.sparse.name", notes.get(b"path", _name(block)))
    sparse = kind == b"S" or any(key.startswith(b"GNU.sparse.") for key in notes)
    more = kind == b"S" and block[482]
    while more:
        extension = stream.read(_BLOCK)
        more = len(extension) == _BLOCK and extension[504]
    if kind in _FOLDERS_AND_NOTES or (raw.endswith(b"/") and not size):
        return None
    name, status = named(raw)
    if kind in _LINKS:
        status = status or "symlink"
    elif kind in _DEVICES:
        status = status or "not-a-file"
    elif sparse or kind == b"M":
        status = status or "not-readable"  # holes, or the rest of a file on another volume
    member = Member(name, size, stream.at, status)
    return _too_large(member) if size > LARGEST_FILE else member


def _name(block: bytes) -> bytes:
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _too_large(member: Member) -> Member:
    return member if member.status else replace(member, status="too-large")
