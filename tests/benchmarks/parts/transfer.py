"""`dvc add`, `push`, `pull` and `status`: images packed into shards, and as the files they were."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

from tests.benchmarks.alone import alone
from tests.benchmarks.figures import Figure, Place, interleaved, ratio
from tests.benchmarks.photographs import write_photographs

COMMANDS = ("add", "push", "pull", "status")


def measure(place: Place) -> list[Figure]:
    """Repositories of their own, with a remote in a folder of this machine."""
    count = place.size(50_000, 200)
    files, packed = place.folder / "files", place.folder / "packed"
    write_photographs(files, count, place.processes)
    pack = alone("ingest", source=files, output=packed, processes=place.processes)
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(place.size(2, 1)):
        repositories = {
            name: Repository(place.folder / f"repository-{name}", data)
            for name, data in (("files", files), ("packed", packed))
        }
        for command in COMMANDS:
            works = {
                name: partial(repository.run, command) for name, repository in repositories.items()
            }
            for repository in repositories.values():
                repository.prepare(command)
            for name, taken in interleaved(1, works).items():
                seconds.setdefault((command, name), []).extend(taken)
        for repository in repositories.values():
            repository.check()
            shutil.rmtree(repository.folder)
    figures = [Figure(f"ingest of {count:,} images, once", pack.seconds, "s")]
    for command in COMMANDS:
        as_files, as_shards = seconds[command, "files"], seconds[command, "packed"]
        figures += [
            Figure(f"dvc {command}, {count:,} files", median(as_files), "s", samples=as_files),
            Figure(f"dvc {command}, packed", median(as_shards), "s", samples=as_shards),
            ratio(f"dvc {command}: packed v files", as_files, as_shards),
        ]
    return figures


class Repository:
    """git + DVC with one data folder `data`, a home and a site cache of its own."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self.remote = folder / "remote"
        self.data.mkdir(parents=True)
        for path in data.iterdir():
            shutil.copyfile(path, self.data / path.name)
        self.bytes = _bytes(self.data)
        self._call("git", "init", "-q")
        self.run("init", "-q")
        self.run("config", "core.analytics", "false")
        self.run("remote", "add", "-q", "-d", "store", str(self.remote))

    def prepare(self, command: str) -> None:
        """Bring about what the command is for: before a pull everything is gone here."""
        if command == "pull":
            shutil.rmtree(self.data)
            shutil.rmtree(self.folder / ".dvc" / "cache")

    def run(self, command: str, *arguments: str) -> None:
        """Run a DVC command; `add` adds the data."""
        more = ("data",) if command == "add" else arguments
        self._call(sys.executable, "-m", "dvc", command, *more)

    def check(self) -> None:
        """Everything was pushed, and came back."""
        assert _bytes(self.data) == self.bytes
        assert _bytes(self.remote) > self.bytes  # and the list of the files

    def _call(self, *command: str) -> None:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DVC_", "GIT_", "XDG_"))
        }
        own = {"HOME": str(self.folder / "home"), "DVC_SITE_CACHE_DIR": str(self.folder / "site")}
        subprocess.run(
            command, cwd=self.folder, env={**kept, **own}, check=True, stdout=subprocess.DEVNULL
        )


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
