"""CIFAR-10: 60,000 real 32x32 colour photographs in ten classes.

Krizhevsky, "Learning multiple layers of features from tiny images" (2009). The binary version, as
the other ones are pickles: for each image its class in a byte, then 1,024 each of red, green, blue.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.sources.arrays import local_path, number_of, open_unpacked, reading
from ganpipe.data.sources.base import Entry
from ganpipe.data.sources.downloads import download_folder, downloading, fetch
from ganpipe.errors import GanpipeError
from ganpipe.files import sha256
from ganpipe.images import png_bytes

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
ARCHIVE = "cifar-10-binary.tar.gz"
FILES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
CLASSES = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]
IMAGES_IN_FILE = 10_000
PIXELS = 3 * 32 * 32
REMEDY = f"download {URL} again"


class Cifar10:
    """Colour images of 32x32 pixels with the published split: 50,000 train, 10,000 test.

    Read from the archive as it is, or from a folder with its files. Raises GanpipeError that says
    which file to put where.
    """

    resolution = 0
    classes = CLASSES

    def __init__(self, path: str = "") -> None:
        self.path = _find(path)

    @cached_property
    def entries(self) -> Sequence[Entry]:
        found = [
            Entry(_path(name, row, label), PIXELS, self._digest, CLASSES[label], _side(name))
            for name, batch in self._batches(FILES)
            for row, label in enumerate(batch[:, 0].tolist())
        ]
        return sorted(found, key=attrgetter("path"))

    def fingerprint(self) -> dict[str, Any]:
        files = self._files()
        return {
            "source": "cifar10",
            "count": len(self.entries),
            "bytes": sum(file.stat().st_size for file in files),
            "digest": self._digest,
        }

    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        chosen: dict[str, list[tuple[int, Entry]]] = {}
        for entry in wanted:
            file, row = divmod(number_of(entry), IMAGES_IN_FILE)
            name = FILES[-1] if entry.split == "test" else FILES[file]
            chosen.setdefault(name, []).append((row, entry))
        for name, batch in self._batches(list(chosen)):
            for row, entry in chosen[name]:
                planes = batch[row, 1:].reshape(3, 32, 32)
                yield entry, png_bytes(np.ascontiguousarray(planes.transpose(1, 2, 0)))

    def _files(self) -> list[Path]:
        return [self.path / name for name in FILES] if self.path.is_dir() else [self.path]

    @cached_property
    def _digest(self) -> str:
        """Over the contents, so that the same files give the same tags on every machine."""
        digests = "\n".join(sha256(file) for file in self._files())
        return hashlib.sha256(digests.encode()).hexdigest()

    def _batches(self, names: Sequence[str]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Some of the files as uint8 [n, 1 + 3,072], in the order in which they are stored."""
        left = set(names)
        with reading(self.path, REMEDY):
            try:
                for name, file in self._opened(left):
                    left.discard(name)
                    yield name, _batch(name, file.read(IMAGES_IN_FILE * (1 + PIXELS) + 1))
            except tarfile.TarError as error:
                raise ValueError(error) from None
            if left:
                raise ValueError(f"it lacks {', '.join(sorted(left))}")

    def _opened(self, names: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
        if self.path.is_dir():
            for name in sorted(names):
                with (self.path / name).open("rb") as file:
                    yield name, file
            return
        # unpacked here: tarfile's own way raises TypeError for some damage
        with open_unpacked(self.path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                content = tar.extractfile(member) if member.isreg() and name in names else None
                if content:
                    yield name, content
                    if not names:
                        return  # unpacking the rest would be for nothing


def _batch(name: str, content: bytes) -> NDArray[np.uint8]:
    count, rest = divmod(len(content), 1 + PIXELS)
    if rest or not 0 < count <= IMAGES_IN_FILE:
        raise ValueError(f"{name} is not of at most {IMAGES_IN_FILE} images of {1 + PIXELS} bytes")
    batch = np.frombuffer(content, np.uint8).reshape(count, 1 + PIXELS)
    if batch[:, 0].max() >= len(CLASSES):
        raise ValueError(f"{name} holds class {batch[:, 0].max()} of {len(CLASSES)}")
    return batch


def _side(name: str) -> str:
    return "test" if name == FILES[-1] else "train"


def _path(name: str, row: int, label: int) -> str:
    """An image's number counts through the five files for training, as torchvision's does."""
    side = _side(name)
    number = row if side == "test" else FILES.index(name) * IMAGES_IN_FILE + row
    return f"{side}/{CLASSES[label]}/{number:05d}.png"


def _find(path: str) -> Path:
    """The archive, or the folder with its files: given, or downloaded."""
    if not path:
        archive = download_folder("CIFAR10") / ARCHIVE
        remedy = (
            f"Get {ARCHIVE} from {URL} and put it into {archive.parent}, or set data.path to it"
        )
        if not archive.is_file():
            with downloading("CIFAR-10", remedy):
                fetch(URL, archive, MD5)
        return archive
    found = local_path(path)
    for folder in (found, found / "cifar-10-batches-bin"):
        if all((folder / name).is_file() for name in FILES):
            return folder
    archive = found / ARCHIVE if found.is_dir() else found
    if not archive.is_file():
        raise GanpipeError(
            f"data.path={path} holds neither {ARCHIVE} nor {', '.join(FILES)}: put one of them "
            f"there (the binary version, from {URL}), or leave data.path empty"
        )
    return archive
