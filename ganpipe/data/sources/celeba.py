"""CelebA: 202,599 aligned photographs of faces, 178x218.

Liu, Luo, Wang and Tang, "Deep learning face attributes in the wild" (2015), for research only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

from ganpipe.data.sources.archive import Archive
from ganpipe.data.sources.arrays import local_path
from ganpipe.data.sources.base import Entry, Source
from ganpipe.data.sources.downloads import download_folder, downloading
from ganpipe.data.sources.folder import Folder
from ganpipe.errors import GanpipeError
from ganpipe.files import sha256

ARCHIVE = "img_align_celeba.zip"
FOLDER = "img_align_celeba"
PARTITION = "list_eval_partition.txt"
SIDES = {"0": "train", "1": "train", "2": "test"}  # 1 is for validation


class Celeba:
    """Colour images without classes, with the published split: 182,637 train, 19,962 test.

    Read from the zip file as it is, or from the unpacked folder. Raises GanpipeError that says
    which files to put where.
    """

    resolution = 0

    def __init__(self, path: str = "") -> None:
        folder = find_folder(path)
        self.partition = folder / PARTITION
        self.files: Source = (
            Archive(str(folder / ARCHIVE), "none")
            if (folder / ARCHIVE).is_file()
            else Folder(str(folder / FOLDER), "none")
        )

    @property
    def classes(self) -> list[str]:
        return []

    @cached_property
    def entries(self) -> Sequence[Entry]:
        splits = read_partition(self.partition)
        found = [
            # not `replace`, which takes half a second for all of them
            Entry(
                entry.path,
                entry.size,
                entry.tag,
                split=splits.pop(entry.path.rpartition("/")[2], ""),
                status=entry.status,
            )
            for entry in self.files.entries
        ]
        found += [
            Entry(name, 0, "", split=split, status="missing") for name, split in splits.items()
        ]
        return sorted(found, key=attrgetter("path"))

    def fingerprint(self) -> dict[str, Any]:
        found = self.files.fingerprint()
        both = found["digest"] + sha256(self.partition)
        return {**found, "source": "celeba", "digest": hashlib.sha256(both.encode()).hexdigest()}

    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        return self.files.read(wanted)


def read_partition(path: Path) -> dict[str, str]:
    """Side of each image by file name. Raises GanpipeError that names a line it cannot read."""
    splits = {}
    for number, line in enumerate(
        path.read_text(encoding="utf-8", errors="replace").split("\n"), 1
    ):
        name, _, side = line.strip().partition(" ")
        if side.strip() in SIDES:
            splits[name] = SIDES[side.strip()]
        elif line.strip():
            raise GanpipeError(
                f"{path}, line {number}: {line[:80]!r} is no file name followed by 0, 1 or 2: "
                f"download it again"
            )
    return splits


def find_folder(path: str) -> Path:
    """The folder with the images and the partition: given, or downloaded."""
    if path:
        folder = local_path(path)
        if not _is_whole(folder):
            raise GanpipeError(f"data.path={path} lacks files of CelebA: {_remedy('there')}")
        return folder
    folder = download_folder("celeba")
    if not _is_whole(folder):
        with downloading("CelebA", _remedy(f"into {folder}, or into a folder and set data.path")):
            _download(folder)
    return folder


def _is_whole(folder: Path) -> bool:
    images = (folder / ARCHIVE).is_file() or (folder / FOLDER).is_dir()
    return images and (folder / PARTITION).is_file()


def _remedy(where: str) -> str:
    return f"Put {ARCHIVE} (or its unpacked folder {FOLDER}) and {PARTITION} {where}"


def _download(folder: Path) -> None:
    """The two files that are needed, by torchvision's list of addresses and checksums."""
    from torchvision.datasets import CelebA
    from torchvision.datasets.utils import download_file_from_google_drive

    for address, md5, name in CelebA.file_list:
        if name in (ARCHIVE, PARTITION) and not (folder / name).is_file():
            partial = f"{name}.partial"
            try:
                download_file_from_google_drive(address, str(folder), partial, md5)
            except (OSError, RuntimeError):
                raise
            except Exception as error:  # noqa: BLE001 - gdown's own, which is not always installed
                raise OSError(error) from None
            (folder / partial).replace(folder / name)
