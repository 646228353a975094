"""A source that is a dict, images that are a number, and how to compare folders."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganpipe.data import find, preprocess
from ganpipe.data.engine import Engine
from ganpipe.data.ingest import ingest
from ganpipe.data.sources.base import Entry, digest_of
from ganpipe.params import ComputeParams, DataParams

ONE = ComputeParams(processes=1)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **how: Any) -> bytes:
    """An image file's bytes."""
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **how)
    return out.getvalue()


def noise(seed: int, width: int = 12, height: int = 10) -> np.ndarray:
    """A picture like no other: uint8 [height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(seed: int, width: int = 12, height: int = 10) -> bytes:
    return encoded(noise(seed, width, height))


def pile_of(count: int, first: int = 0) -> dict[str, bytes]:
    """Different images in two folders."""
    return {f"{'ab'[n % 2]}/{n:04d}.png": png(n) for n in range(first, first + count)}


def chosen(**changes: Any) -> DataParams:
    """Parameters under which small images in small numbers will do."""
    small = {"source": "folder", "path": "pile", "test_fraction": 0.3, "min_side": 4}
    return DataParams(**{**small, **changes})


def tree(folder: Path) -> dict[str, str]:
    """Name and digest of every file in a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Pile:
    """A source over path -> bytes, whose tags are digests and whose classes are folders."""

    resolution = 0

    def __init__(
        self,
        files: dict[str, bytes],
        *,
        order: Callable[[list[Entry]], list[Entry]] = list,
        classes: Sequence[str] = (),
        unread: dict[str, str] | None = None,
        failing: dict[str, str] | None = None,
        sizes: Callable[[bytes], int] = len,
        tags: dict[str, str] | None = None,
    ) -> None:
        """`order` is that of reading, `unread` path -> status in the listing, `failing` path ->
        status when read, `sizes` what the listing says, `tags` those that are no digests."""
        self.files, self.order, self.classes = files, order, list(classes)
        self.unread, self.failing, self.tags = unread or {}, failing or {}, tags or {}
        self.reads: list[str] = []
        self.entries = [
            Entry(
                path,
                sizes(payload),
                self.tags.get(path, hashlib.md5(payload).hexdigest()),  # noqa: S324 - a tag
                label=path.partition("/")[0] if "/" in path else "",
                status=self.unread.get(path, ""),
            )
            for path, payload in sorted(files.items())
        ]

    def fingerprint(self) -> dict[str, Any]:
        size = sum(entry.size for entry in self.entries)
        digest = digest_of(self.entries)
        return {"source": "pile", "count": len(self.entries), "bytes": size, "digest": digest}

    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        for entry in self.order(list(wanted)):
            self.reads.append(entry.path)
            if entry.path in self.failing:
                yield entry._replace(status=self.failing[entry.path]), b""
            else:
                yield entry, self.files[entry.path]


@pytest.fixture(autouse=True)
def _light_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the main module anew; here that is pytest, and most of a worker's cost."""
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", None)
    monkeypatch.delattr(main, "__file__", raising=False)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is given to workers, as it is given."""
    given: list[bytes] = []
    really = Engine.map

    def watched(self: Engine, function: Any, chunks: Any) -> Any:
        def seen() -> Iterator[Any]:
            for tag, items in chunks:
                given.extend(items)
                yield tag, items

        return really(self, function, seen())

    monkeypatch.setattr(Engine, "map", watched)
    return given


@pytest.fixture
def in_chunks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many files go to a worker at a time."""

    def set_size(files: int) -> None:
        for module in (find, preprocess):
            monkeypatch.setattr(module, "CHUNK_FILES", files)

    return set_size


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """What ingest makes of some files when it knows nothing: the tree of data/raw."""

    def run(
        files: dict[str, bytes], params: DataParams | None = None, **how: Any
    ) -> dict[str, str]:
        output = tmp_path / "fresh" / "raw"
        ingest(Pile(files), output, params or chosen(), ONE)
        return tree(output)

    return run
