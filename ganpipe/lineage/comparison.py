"""The outputs of a workspace against the hashes of a dvc.lock, file by file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpipe.errors import GanpipeError
from ganpipe.lineage.identity import ENVIRONMENT
from ganpipe.lineage.store import Store
from ganpipe.lineage.verify import md5


@dataclass(frozen=True)
class Output:
    """What became of one output."""

    path: str
    differences: list[str]
    """One line for each file that differs; empty when all bytes are the same."""

    @property
    def identical(self) -> bool:
        return not self.differences


def compare(workspace: Path, wanted: Mapping[str, str], store: Store) -> list[Output]:
    """Hash the outputs of a workspace and hold them against `wanted`: path to DVC's hash."""
    return [
        Output(path, _differences(workspace / path, each, store)) for path, each in wanted.items()
    ]


def _differences(path: Path, wanted: str, store: Store) -> list[str]:
    if not path.exists():
        return ["is missing"]
    if not wanted.endswith(".dir"):
        found = md5(path)
        return [] if found == wanted else [f"has md5 {found}, not {wanted}"]
    there = _files(path)
    if _folder_hash(there) == wanted:
        return []
    try:
        files = store.entries(wanted)
    except GanpipeError as error:
        return [f"differs; which files do is not known: {error}"]
    return [
        *(f"{name}: is missing" for name in sorted(files.keys() - there.keys())),
        *(f"{name}: is new" for name in sorted(there.keys() - files.keys())),
        *(
            f"{name}: has md5 {there[name]}, not {files[name]}"
            for name in sorted(files.keys() & there.keys())
            if files[name] != there[name]
        ),
    ]


def _files(folder: Path) -> dict[str, str]:
    found = {
        path.relative_to(folder).as_posix(): md5(path)
        for path in folder.rglob("*")
        if path.is_file()
    }
    return {name: each for name, each in found.items() if each is not None}


def _folder_hash(files: Mapping[str, str]) -> str:
    """The hash that DVC gives a folder with these files."""
    from dvc_data.hashfile.tree import Tree

    make: Any = Tree.from_list  # its package has types, this function none
    tree = make([{"relpath": name, "md5": each} for name, each in files.items()])
    tree.digest()
    return str(tree.oid)


def reasons(then: Mapping[str, str], now: Mapping[str, Any]) -> list[str]:
    """Why bytes may differ: what of the environment is another, by tags and by an identity."""
    from ganpipe.tracking import text

    pairs = {key: (then.get(f"ganpipe.{key}"), now.get(key)) for key in ENVIRONMENT}
    told = [
        f"{key}: {was or 'not recorded'} then, {'none' if is_ is None else text(is_)} now"
        for key, (was, is_) in pairs.items()
        if was != (None if is_ is None else text(is_))
    ]
    return told or ["Python, torch, numpy, CPU and threads are the same: a stage is not exact"]
