"""The bytes that DVC keeps for a repository, looked at without changing any: cache, then remote."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ganpipe.errors import GanpipeError
from ganpipe.lineage.carried import LostError
from ganpipe.workspace import state_folder

WHOLE, DAMAGED, MISSING = "whole", "damaged", "missing"


class Store:
    """Objects by their hash: the md5 of a file, or `<md5>.dir` of a folder's list of files.

    DVC's own checks trust a file that cannot be written and delete one that does not match;
    these hash it, and delete nothing. Make one with `opened()`.
    """

    def __init__(self, cache: Any, remote: Any, known: Any, why_no_remote: str) -> None:
        self.cache, self.remote, self._known = cache, remote, known
        self.why_no_remote = why_no_remote

    def state(self, hashes: Iterable[str]) -> dict[str, str]:
        """Each hash: `whole` in the cache or on the remote, `damaged`, or `missing` from both."""
        found = {each: self._look(self.cache, each) for each in hashes}
        absent = [each for each, state in found.items() if state == MISSING]
        if absent and self.remote is not None:
            found |= self._ask(absent)
        return found

    def entries(self, folder: str) -> dict[str, str]:
        """The files of a folder by its hash: relative path to md5.

        Raises LostError when the list is nowhere whole.
        """
        text = self.read(folder)
        return {str(entry["relpath"]): str(entry["md5"]) for entry in json.loads(text)}

    def read(self, wanted: str) -> bytes:
        """The bytes of an object. Raises LostError when they are nowhere whole."""
        for place in filter(None, (self.cache, self.remote)):
            with _named(place):
                try:
                    text: bytes = place.fs.cat_file(place.oid_to_path(wanted))
                except FileNotFoundError:
                    continue
            if _md5(text) == wanted.removesuffix(".dir"):
                return text
        raise LostError(f"{wanted} is whole neither in the cache nor {self.remotely}")

    @property
    def remotely(self) -> str:
        """For messages: `on the remote URL`, or that there is none."""
        if self.remote is None:
            return f"on a DVC remote ({self.why_no_remote})"
        return f"on the remote {self.remote.fs.unstrip_protocol(self.remote.path)}"

    def place(self, wanted: str) -> Path:
        """Where an object is in the cache, or would be."""
        return Path(self.cache.oid_to_path(wanted))

    def lend(self, wanted: str, cache: Path) -> None:
        """Put what is here of an object, with a folder's files, into another cache folder."""
        if self._look(self.cache, wanted) != WHOLE:
            return
        files = self.entries(wanted).values() if wanted.endswith(".dir") else ()
        for each in {wanted, *files}:
            source = self.place(each)
            target = cache / "files" / "md5" / each[:2] / each[2:]
            if target.exists() or self._look(self.cache, each) != WHOLE:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, target)
            except OSError:  # another disk
                shutil.copy2(source, target)

    def _ask(self, hashes: list[str]) -> dict[str, str]:
        with _named(self.remote):
            if self.remote.fs.protocol == "local":
                return {each: self._look(self.remote, each) for each in hashes}
            there = set(self.remote.oids_exist(hashes))
        return {each: WHOLE if each in there else MISSING for each in hashes}

    def _look(self, place: Any, wanted: str) -> str:
        from dvc_data.hashfile.hash import hash_file

        path = place.oid_to_path(wanted)
        try:
            info = place.fs.info(path)
            found = hash_file(path, place.fs, "md5", self._known, info=info)[1].value
        except FileNotFoundError:
            return MISSING
        return WHOLE if found == wanted.removesuffix(".dir") else DAMAGED


@contextmanager
def opened(repo: Path, *, thorough: bool = False) -> Iterator[Store]:
    """The store of a repository, with the settings and credentials of its DVC configuration.

    A file that was hashed before and has had the same inode, size and time since is not read
    again, unless `thorough`. Raises GanpipeError for a configuration that is not valid.
    """
    from dvc.config import Config, ConfigError  # type: ignore[import-untyped]
    from dvc.fs import get_cloud_fs  # type: ignore[import-untyped]
    from dvc_data.hashfile.db import get_odb
    from dvc_data.hashfile.state import State, StateNoop
    from dvc_objects.fs.errors import RemoteMissingDepsError
    from dvc_objects.fs.local import localfs

    database: Any = get_odb  # its package has types, this function none
    if not (repo / ".dvc").is_dir():
        raise GanpipeError(f"{repo} is no DVC repository: change to the one of this model's runs")
    try:
        config = Config(dvc_dir=str(repo / ".dvc"))
        folder = Path(config["cache"].get("dir") or repo / ".dvc" / "cache")
        cache = database(localfs, str(folder / "files" / "md5"), hash_name="md5")
        remote, why = None, "none is set: `ganpipe init --remote URL`"
        if name := config["core"].get("remote"):
            kind, settings, path = get_cloud_fs(config, name=name)
            try:
                files = kind(**settings)
            except RemoteMissingDepsError as error:
                raise GanpipeError(f"DVC's remote {name} needs more packages: {error}") from error
            settings["hash_name"] = "md5"
            remote = database(files, files.join(path, "files", "md5"), **settings)
    except ConfigError as error:
        raise GanpipeError(
            f"DVC's configuration of {repo} is not valid: {error}; see `dvc config --list`"
        ) from None
    # not DVC's own notes: it writes down what a download should hash to, not what it does
    notes = State(tmp_dir=str(state_folder(repo) / "hashed"))
    with closing(notes):
        yield Store(cache, remote, StateNoop() if thorough else notes, why)


@contextmanager
def _named(place: Any) -> Iterator[None]:
    """Turn whatever the library of a kind of remote raises into GanpipeError; not "not found"."""
    try:
        yield
    except (GanpipeError, FileNotFoundError):
        raise
    except Exception as error:
        where = place.fs.unstrip_protocol(place.path)
        raise GanpipeError(
            f"DVC's {where} cannot be read ({type(error).__name__}: {error}): mend the connection "
            "or the credentials, or name another with `ganpipe init --remote`"
        ) from error


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
