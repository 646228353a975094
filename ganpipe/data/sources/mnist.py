"""MNIST: 70,000 real 28x28 scans of handwritten digits.

LeCun, Cortes and Burges, "The MNIST database of handwritten digits". Four IDX files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ganpipe.data.sources.arrays import ArraySource, Stack, local_path
from ganpipe.data.sources.downloads import download_folder, downloading
from ganpipe.data.sources.idx import stack_of
from ganpipe.errors import GanpipeError

FILES = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
]


class Mnist(ArraySource):
    """Grey images of 28x28 pixels with the published split: 60,000 train, 10,000 test.

    Raises GanpipeError that says which files to put where. Data sets of the same four files are
    subclasses.
    """

    kind = "mnist"
    layout = "{folder}{label}/{index:05d}.png"
    published = "MNIST"
    """Name of the class of torchvision that downloads it."""
    names: Sequence[str] = "0123456789"
    places: Sequence[Path] = ()
    """Where else than at data.path its files may be."""
    remedy = "Put the four files {files} into a folder and set data.path to it"

    def __init__(self, path: str = "") -> None:
        self.files = self._find(path)

    @property
    def classes(self) -> list[str]:
        return list(self.names)

    @cached_property
    def stacks(self) -> Sequence[Stack]:
        train, train_labels, test, test_labels = self.files
        tag = self._digest
        return [
            stack_of(test, "test/", "test", self.names, test_labels, tag),
            stack_of(train, "train/", "train", self.names, train_labels, tag),
        ]

    def fingerprint(self) -> dict[str, Any]:
        return {
            "source": self.kind,
            "count": len(self.entries),
            "bytes": sum(file.stat().st_size for file in self.files),
            "digest": self._digest,
        }

    @cached_property
    def _digest(self) -> str:
        """Over the contents, so that the same files give the same tags on every machine."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(file.read_bytes())
        return digest.hexdigest()

    def _find(self, path: str) -> list[Path]:
        """The four files: at a given path, at a known place, or downloaded."""
        if path:
            folder = local_path(path)
            if missing := _missing(folder):
                raise GanpipeError(
                    f"data.path={path} lacks {', '.join(missing)}: put the four files there "
                    f"({', '.join(FILES)}, or unpacked), or leave data.path empty"
                )
            return _files(folder)
        folder = download_folder(self.published) / "raw"
        for place in self.places:
            if not _missing(place):
                return _files(place)
        # torchvision unpacks a file when its checksum is right: one cut off is only packed
        if all((folder / name).with_suffix("").is_file() for name in FILES):
            return _files(folder)
        import torchvision.datasets

        with downloading(self.published, self.remedy.format(files=", ".join(FILES))):
            getattr(torchvision.datasets, self.published)(str(folder.parents[1]), download=True)
        return _files(folder)


def _files(folder: Path) -> list[Path]:
    """The four files, packed where both are there."""
    packed = [folder / name for name in FILES]
    return [file if file.is_file() else file.with_suffix("") for file in packed]


def _missing(folder: Path) -> list[str]:
    files = zip(FILES, _files(folder), strict=True)
    return [name for name, file in files if not file.is_file()]
