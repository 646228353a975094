"""A destination that is a folder of this machine."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, replacing, sync
from ganpipe.generation.place import AGAIN, DESCRIPTION, UNFINISHED


class Folder:
    """A folder of this machine. Work goes on in a hidden one beside it, renamed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.shown = str(self.folder)
        if os.path.ismount(self.folder):  # which nothing can be renamed to
            raise GanpipeError(
                f"{self.folder} is a mount point: name a folder in it, such as "
                f"--out {self.folder / 'samples'}"
            )
        self.work = self.folder.with_name(f".{self.folder.name}.unfinished")
        self.old = self.folder.with_name(f".{self.folder.name}.replaced")
        if self.folder.exists() and not self.folder.is_dir():
            raise GanpipeError(f"{self.folder} is a file: name a folder with --out")
        with self._named():
            self.work.mkdir(parents=True, exist_ok=True)
            self.lock = os.open(self.work, os.O_RDONLY)
            self._lock()
            self._recover()

    def _lock(self) -> None:
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.lock)
            raise GanpipeError(
                f"another process is writing {self.folder}: let it finish, or name another folder"
            ) from None

    def _recover(self) -> None:
        """Mend what a kill between the two renames of `publish` left."""
        if self.old.exists() and not self.folder.exists():
            self.old.rename(self.folder)
        elif self.old.exists():
            shutil.rmtree(self.old)

    def finished(self) -> dict[str, int]:
        return _sizes(self.folder) if self.folder.is_dir() else {}

    def description(self) -> Any:
        return _json(self.folder / DESCRIPTION)

    def begun(self) -> dict[str, int]:
        return _sizes(self.work)

    def noted(self, name: str) -> Any:
        return _json(self.work / UNFINISHED / name)

    def note(self, name: str, value: Any) -> None:
        with self._named(), replacing(self.work / UNFINISHED / name) as beside:
            beside.write_text(json.dumps(value), encoding="utf-8")

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            self.stream(name, [content])

    def stream(self, name: str, content: Iterable[bytes]) -> None:
        path = self.work / name
        with self._named():
            with path.open("wb") as file:
                file.writelines(content)
            sync(path)

    def remove(self, names: Iterable[str]) -> None:
        with self._named():
            for name in names:
                (self.work / name).unlink()

    def publish(self) -> None:
        with self._named():
            if (self.work / DESCRIPTION).exists():
                sync(self.work)
                if self.folder.exists():
                    self.folder.rename(self.old)
                self.work.rename(self.folder)
                sync(self.folder.parent)
                shutil.rmtree(self.old, ignore_errors=True)
            shutil.rmtree(self.folder / UNFINISHED, ignore_errors=True)

    def close(self) -> None:
        """Leave nothing behind where nothing was begun."""
        if self.work.is_dir() and not any(self.work.iterdir()):
            self.work.rmdir()
        os.close(self.lock)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise GanpipeError(
                f"{self.folder} cannot be written ({error.strerror}): make room or mend its "
                f"rights and {AGAIN}; or name another folder with --out"
            ) from error


def _sizes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise GanpipeError(f"{path} is damaged ({error}): remove it, or its folder") from None
