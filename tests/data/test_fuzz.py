"""Mutated files end in a status: no crash, no hang, no write, no other program, no large memory.

The files are examined in a child process, so that one that ends it is known by its name. Every
case is a pure function of its kind and number: `mutant("PNG", 17)` gives it again.
"""

from __future__ import annotations

import functools
import gzip
import io
import os
import random
import select
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import pytest

from ganpipe.data.decode import open_image
from ganpipe.data.manifest import STATUSES
from tests.data import zoo

IMAGES = {
    "JPEG": 2500, "PNG": 2500, "GIF": 2000, "WEBP": 2000, "TIFF": 2000, "BMP": 600, "ICO": 400,
    "HEIF": 1000, "AVIF": 600, "JPEG2000": 200, "TGA": 200, "PPM": 200, "PCX": 100, "SGI": 100,
}  # fmt: skip
ARCHIVES = {"zip": 600, "tar": 500, "tar.gz": 300}
SECONDS_A_CASE = 5.0
LARGEST_PROCESS = 700  # MiB, interpreter and libraries included


@functools.cache
def seeds(kind: str) -> list[bytes]:
    """Files to start from: the zoo's of a format, or archives of several makes."""
    if kind in ARCHIVES:
        return [archive(kind, plain) for plain in (True, False)]
    found = []
    for specimen in [*zoo.good(), *zoo.bad()]:
        if specimen.status in ("ok", "animated") and len(specimen.payload) < 20_000:
            with open_image(specimen.payload, zoo.MAX_PIXELS) as image:
                known = {"MPO": "JPEG", "DIB": "BMP"}.get(image.format, image.format)
                found += [specimen.payload] * (known == kind)
    return found


def archive(kind: str, plain: bool) -> bytes:
    """A small archive of pictures with classes; when not plain, with all that may be odd."""
    pictures = {
        "cats/1.png": zoo.encode(zoo.picture(), "PNG"),
        "cats/2.jpg": zoo.encode(zoo.picture(), "JPEG"),
        "dogs/one/1.gif": zoo.encode(zoo.picture()[..., 0], "GIF"),
    }
    odd = {"../up.png": b"up", "/tmp/absolute.png": b"root", "a\nb.png": b"x", "long" * 90: b"y"}  # noqa: S108
    members = pictures if plain else {**pictures, **odd, "labels.csv": b"file_name,label\n1,a\n"}
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if plain else 0) as pack:
            for name, content in members.items():
                pack.writestr(zipfile.ZipInfo(name), content)
        return buffer.getvalue()
    form = tarfile.PAX_FORMAT if plain else tarfile.GNU_FORMAT
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tape:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tape.addfile(member, io.BytesIO(content))
        for type_ in () if plain else (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"special {type_!r}")
            member.type, member.linkname = type_, "/etc/passwd"
            tape.addfile(member)
    return buffer.getvalue()


def mutant(kind: str, number: int) -> bytes:
    """One to four changes to a file of this kind."""
    rng = random.Random(f"{kind} {number}")
    data = bytearray(rng.choice(seeds(kind)))
    for _ in range(rng.randint(1, 4)):
        change = rng.choice((flip, cut, splice, set_field, set_field, move))
        data = bytearray(change(rng, data, kind)) or bytearray(b"\0")
    if kind == "PNG" and rng.random() < 0.7:
        data = with_right_checks(data)
    # else hardly any change would get past the compression
    return gzip.compress(bytes(data), mtime=0) if kind == "tar.gz" else bytes(data)


def place(rng: random.Random, data: bytearray) -> int:
    """Anywhere, but every third time among the first 200 bytes, where headers are."""
    return rng.randrange(min(len(data), 200) if rng.random() < 0.33 else len(data))


def flip(rng: random.Random, data: bytearray, kind: str) -> bytes:
    for _ in range(rng.choice((1, 2, 8, 64))):
        data[place(rng, data)] ^= 1 << rng.randrange(8)
    return data


def cut(rng: random.Random, data: bytearray, kind: str) -> bytes:
    return data[: place(rng, data)]


def splice(rng: random.Random, data: bytearray, kind: str) -> bytes:
    other = rng.choice(seeds(kind))
    return data[: place(rng, data)] + other[place(rng, bytearray(other)) :]


def set_field(rng: random.Random, data: bytearray, kind: str) -> bytes:
    """What lengths, counts, offsets and sizes are overflowed with."""
    width = rng.choice((1, 2, 4, 8))
    most = 2 ** (8 * width)
    value = rng.choice((0, 1, most - 1, most // 2, most // 2 - 1, rng.randrange(most), 1000 % most))
    start = place(rng, data)
    data[start : start + width] = value.to_bytes(width, rng.choice(("big", "little")))
    return data


def move(rng: random.Random, data: bytearray, kind: str) -> bytes:
    """Remove a part, double it, or blank it."""
    start = place(rng, data)
    part = data[start : start + rng.choice((1, 4, 12, 100))]
    replacement = rng.choice((b"", part * 2, bytes(len(part)), b"\xff" * len(part)))
    return data[:start] + replacement + data[start + len(part) :]


def with_right_checks(data: bytearray) -> bytearray:
    """A PNG whose chunks have the check sums of their content, so that it is looked at."""
    start = 8
    while start + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        end = start + 8 + length
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[start + 4 : end]))
        start = end + 4
    return data


class Child:
    """The process that examines: takes a length and as many bytes, answers with a line."""

    def __init__(self, part: str, folder, root) -> None:
        env = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "tests.data.test_fuzz", part]
        self.process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._answer(60) == "ready"

    def ask(self, payload: bytes) -> str:
        """Its answer. Raises OSError when it ended, TimeoutError when it took too long."""
        self.process.stdin.write(struct.pack("<I", len(payload)) + payload)
        self.process.stdin.flush()
        return self._answer(SECONDS_A_CASE)

    def _answer(self, seconds: float) -> str:
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise TimeoutError(f"no answer within {seconds} seconds")
        line = self.process.stdout.readline()
        if not line:
            raise EOFError(f"it ended the process: {self.process.wait()}")
        return line.decode().strip()

    def end(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def serve(part: str) -> None:
    """The child: answers statuses, or what it saw happen that must not."""
    answer = {"images": examined, "archives": listed, "culprit": misbehaved}[part]
    seen: list[str] = []
    answer(b"")  # imports
    sys.addaudithook(functools.partial(watch, seen))
    print("ready", flush=True)
    while head := sys.stdin.buffer.read(4):
        payload = sys.stdin.buffer.read(*struct.unpack("<I", head))
        statuses = answer(payload)
        peak = peak_memory()
        if peak > LARGEST_PROCESS:
            seen.append(f"{peak} MiB of memory")
        print(" ; ".join(seen) or " ".join(sorted(statuses)) or "none", flush=True)


def peak_memory() -> int:
    """MiB of this program; getrusage would count what the process was before its exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def watch(seen: list[str], event: str, args: tuple) -> None:
    """An audit hook: notes every change to the file system, other program and connection."""
    writes = event == "open" and args[2] is not None and args[2] & (os.O_ACCMODE | os.O_CREAT)
    changes = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink",
               "os.truncate", "os.chmod", "os.chown", "shutil.", "tempfile.", "subprocess.",
               "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")  # fmt: skip
    if writes or event.startswith(changes):
        seen.append(f"{event} {str(args)[:200]!r}")


def examined(payload: bytes) -> set[str]:
    from ganpipe.data.examine import Limits, examine

    return {examine(payload, Limits(zoo.MAX_PIXELS, perceptual=False)).status}


def listed(path: bytes) -> set[str]:
    """Statuses of what an archive holds and gives; `refused` for what a user is told about."""
    from ganpipe.data.sources.archive import Archive
    from ganpipe.errors import GanpipeError

    try:
        source = Archive(path.decode(), "auto")
        entries = source.entries
        read = list(source.read(entries))
    except GanpipeError:
        return {"refused"}
    assert len(read) == len(entries)
    return {entry.status for entry in entries} | {entry.status for entry, _ in read}


def misbehaved(what: bytes) -> set[str]:
    """What no decoder may do, to see that it is noticed."""
    if what == b"write":
        Path("written").touch()
        Path("written").unlink()
    if what == b"run":
        subprocess.run(["true"], check=True)
    if what == b"crash":
        os.abort()
    if what == b"hang":
        time.sleep(60)
    if what == b"grow":
        bytearray(b"x") * (LARGEST_PROCESS * 2**20)
    return {"ok"}


@pytest.fixture
def child(request, tmp_path, repository_root):
    """A child process in an empty folder, which must be empty in the end."""
    folder = tmp_path / "empty"
    folder.mkdir()
    process = Child(request.param, folder, repository_root)
    yield process
    process.end()
    assert list(folder.iterdir()) == []


def judge(child: Child, kind: str, number: int, payload: bytes) -> set[str]:
    case = f"mutant({kind!r}, {number})"
    started = time.monotonic()
    try:
        answer = child.ask(payload)
    except (OSError, EOFError) as error:
        child.process.kill()
        pytest.fail(f"{case}: {error}")
    statuses = set(answer.split())
    assert statuses <= {*STATUSES, "refused", "none"}, f"{case}: {answer}"
    assert time.monotonic() - started < SECONDS_A_CASE, case
    return statuses


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("child", ["images"], indirect=True)
def test_mutated_images_end_in_a_status(child, kind):
    """Most are damaged, and some still good: the mutations reach all depths of the decoders."""
    counts: dict[str, int] = {}
    for number in range(IMAGES[kind]):
        for status in judge(child, kind, number, mutant(kind, number)):
            counts[status] = counts.get(status, 0) + 1
    assert sum(counts.values()) == IMAGES[kind]
    assert {"ok", "truncated", "not-an-image"} <= set(counts), counts


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("child", ["archives"], indirect=True)
def test_mutated_archives_end_in_statuses_or_a_clear_refusal(child, kind, tmp_path):
    file = tmp_path / f"mutant.{kind}"
    seen: set[str] = set()
    for number in range(ARCHIVES[kind]):
        file.write_bytes(mutant(kind, number))
        seen |= judge(child, kind, number, str(file).encode())
    assert "refused" in seen
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", file.name]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("write", "open .*written"),
        ("run", "subprocess.Popen"),
        ("crash", "ended the process: -6"),
        ("hang", "no answer within"),
        ("grow", "MiB of memory"),
    ],
)
@pytest.mark.parametrize("child", ["culprit"], indirect=True)
def test_what_no_decoder_may_do_is_noticed(child, what, words, monkeypatch):
    if what == "hang":
        monkeypatch.setattr(sys.modules[__name__], "SECONDS_A_CASE", 1.0)
    assert judge(child, "culprit", 0, b"") == {"ok"}
    with pytest.raises((AssertionError, pytest.fail.Exception), match=words):
        judge(child, "culprit", 1, what.encode())


def test_there_are_ten_thousand_images_and_no_two_runs_differ():
    assert sum(IMAGES.values()) >= 10_000
    for kind in (*IMAGES, *ARCHIVES):
        assert mutant(kind, 3) == mutant(kind, 3)
        assert len({mutant(kind, number) for number in range(50)}) > 40


if __name__ == "__main__":
    serve(sys.argv[1])
