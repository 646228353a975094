"""What an ingest leaves for the next one, so that only new and changed files are read again.

It lives outside DVC's outputs, which DVC deletes before a stage runs, and changes no byte of
them: without it everything is read again and comes out the same. Shards are hard links to those
that DVC keeps, so they take no second room where both are on one file system.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from ganpipe.data.examine import Facts, Limits
from ganpipe.data.manifest import MANIFEST
from ganpipe.files import read_json, replacing, sha256, write_json

_LIBRARIES = ("imagehash", "numpy", "pi-heif", "pillow", "scipy")
INDEX = "index.parquet"
RESULT = "result.json"


class Seen(NamedTuple):
    """A file that an earlier ingest read."""

    size: int
    """Bytes, as the source's listing said."""
    tag: str
    sha256: str
    bytes: int
    """As many as were read."""


class Packed(NamedTuple):
    """Where the last ingest packed a file."""

    shard: Path
    offset: int
    """Of its bytes."""
    path: str
    """What it was called."""


class IngestCache:
    """A folder with an index of examined files, and with the shards of the last ingest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def facts(self, key: str) -> tuple[dict[str, Seen], dict[str, Facts]]:
        """What earlier ingests found under `key` (see facts_key).

        Returns path -> Seen, and sha256 -> Facts. Both are empty when the index is damaged.
        """
        import pandas as pd

        path = self.folder / f"{key}-{INDEX}"
        if not path.is_file():
            return {}, {}
        try:
            index = pd.read_parquet(path, columns=["path", *Seen._fields, *Facts._fields])
        except (OSError, ValueError) as error:
            print(f"ingest: {path} is damaged ({error}); everything is read again", flush=True)
            return {}, {}
        columns = {name: index[name].tolist() for name in index.columns}
        listed = map(Seen._make, zip(*(columns[name] for name in Seen._fields), strict=True))
        facts = map(Facts._make, zip(*(columns[name] for name in Facts._fields), strict=True))
        return (
            dict(zip(columns["path"], listed, strict=True)),
            dict(zip(columns["sha256"], facts, strict=True)),
        )

    def save_facts(self, key: str, columns: dict[str, list[Any]]) -> None:
        """Replace what is known. `columns`: path and the fields of Seen and of Facts."""
        import pandas as pd

        with replacing(self.folder / f"{key}-{INDEX}") as beside:
            pd.DataFrame(columns).to_parquet(beside, index=False)
        for old in self.folder.glob(f"*-{INDEX}"):
            if old.name != f"{key}-{INDEX}":
                old.unlink()

    def shard(self, signature: str) -> Path | None:
        """A shard that the last ingest wrote, or None. One that was touched since is no use."""
        return self._untouched(f"{signature}.tar")

    def restore(self, key: str, folder: Path) -> bool:
        """Put the whole outcome of the last ingest into `folder`, if it was made under `key`."""
        result = _read(self.folder / RESULT)
        if not key or result.get("key") != key:
            return False
        found = {name: self._untouched(kept) for name, kept in result["files"].items()}
        if None in found.values():
            return False
        for name, kept in found.items():
            if kept is not None:
                link_or_copy(kept, folder / name)
        return True

    def packed(self) -> dict[str, Packed]:
        """Where the last ingest packed bytes, by their sha256."""
        import pandas as pd

        result = _read(self.folder / RESULT)
        if not result or self._untouched(MANIFEST) is None:
            return {}
        shards = {name: self._untouched(kept) for name, kept in result["files"].items()}
        names = ["sha256", "shard", "offset", "path"]
        try:
            rows = pd.read_parquet(self.folder / MANIFEST, columns=names)
        except (OSError, ValueError):  # of another version
            return {}
        columns = (rows[name].tolist() for name in names)
        return {
            digest: Packed(shard, at, path)
            for digest, name, at, path in zip(*columns, strict=True)
            if (shard := shards.get(name)) is not None
        }

    def keep(self, key: str, output: Path, shards: dict[str, str]) -> None:
        """Keep the outcome in `output`, made under `key`, and nothing else.

        `shards`: name of each shard -> its signature. Without a key its parts are used again, but
        never the whole.
        """
        (self.folder / RESULT).unlink(missing_ok=True)
        files = {name: f"{signature}.tar" for name, signature in shards.items()}
        for path in output.iterdir():
            kept = files.setdefault(path.name, path.name)
            if path.name not in shards or self._untouched(kept) is None:
                (self.folder / kept).unlink(missing_ok=True)
                link_or_copy(path, self.folder / kept)
                write_json(self._stamp_of(kept), _stamp(self.folder / kept))
        for old in self.folder.glob("*.tar"):
            if old.name not in files.values():
                old.unlink()
                self._stamp_of(old.name).unlink(missing_ok=True)
        write_json(self.folder / RESULT, {"key": key, "files": files})

    def _untouched(self, name: str) -> Path | None:
        path = self.folder / name
        if not path.is_file():
            return None
        return path if _read(self._stamp_of(name)) == _stamp(path) else None

    def _stamp_of(self, name: str) -> Path:
        return self.folder / f"{name}.stamp"


@contextmanager
def open_cache(root: Path, source: str) -> Iterator[IngestCache]:
    """The cache of one source below `root`, for this process alone; others wait for it."""
    folder = root / hashlib.sha256(source.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("ingest: another run reads the same source; waiting for it", flush=True)
        lock.acquire()
    try:
        yield IngestCache(folder)
    finally:
        lock.release()


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none or the two are on different ones."""
    try:
        os.link(source, target)
    except OSError:
        with replacing(target) as beside:
            shutil.copyfile(source, beside)


def facts_key(limits: Limits) -> str:
    """What is found in a listed file depends on this: readers, decoders and limits."""
    here = Path(__file__).parent
    code = [here / "colours.py", here / "decode.py", here / "examine.py"]
    code.append(here.parent / "images.py")
    code += sorted((here / "sources").rglob("*.py"))
    parts = [sha256(path) for path in code]
    parts += [f"{name} {version(name)}" for name in _LIBRARIES]
    parts.append(f"max_pixels={limits.max_pixels}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, Any]:
    """A JSON object of the cache; empty when it is missing or damaged."""
    try:
        found: dict[str, Any] = read_json(path)
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _stamp(path: Path) -> dict[str, int]:
    found = path.stat()
    return {"bytes": found.st_size, "modified": found.st_mtime_ns}
