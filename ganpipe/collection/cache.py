"""DVC's cache: which of its bytes a lock file names, and the deletion of the others.

`dvc gc` knows the locks of git commits, not those that versions in MLflow carry, so it would
delete a champion's bytes. Every hash that a kept lock mentions counts, outputs and dependencies
alike, with all files of a folder's list. The remote is never touched.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from ganpipe import params, workspace
from ganpipe.collection.items import Item, Rules, judged
from ganpipe.collection.tracked import Tracked, lock_text
from ganpipe.errors import GanpipeError
from ganpipe.lineage import LOCK_FILE
from ganpipe.workspace import git

HASH = re.compile(r"\b[0-9a-f]{32}(?:\.dir)?\b")
ENTRY = re.compile(r"[0-9a-f]{30}(\.dir)?")
OBJECTS, RUNS = PurePosixPath("files/md5"), PurePosixPath("runs")
PINS = "refs/ganpipe/"
LEFT = ".gc"
# params.yaml: a checkpoint in train.start, before the first stage has run
NAMING = (LOCK_FILE, params.PARAMS_FILE)

Named = dict[str, str]
"""A hash, and what names it."""


def folder(repo: Path) -> Path:
    """The cache of a checkout. Raises GanpipeError when others may use it too."""
    from dvc.config import Config, ConfigError  # type: ignore[import-untyped]

    try:
        set_to = Config(dvc_dir=str(repo / ".dvc"))["cache"].get("dir")
    except ConfigError as error:
        raise GanpipeError(f"DVC's configuration of {repo} is not valid: {error}") from None
    place = Path(set_to or repo / ".dvc" / "cache").resolve()
    own = repo.resolve(), workspace.state_folder(repo).resolve()
    if not any(place.is_relative_to(each) for each in own):
        raise GanpipeError(
            f"DVC's cache {place} lies outside this checkout: what other checkouts keep in it is "
            "not known here"
        )
    return place


def named(
    repo: Path, left: Iterable[Tracked], workspaces: Iterable[Path], pins: Iterable[str]
) -> Named:
    """What versions, workspaces, the checkout and git name, without the refs `pins`.

    Raises GanpipeError for a version's lock that cannot be read.
    """
    found: Named = {}
    for each in left:
        for version in each.versions:
            _add(found, lock_text(each.uri, version), version.told)
    for place in workspaces:
        for name in NAMING:
            _add_file(found, place / name, f"run {place.name}")
    listed = git(repo, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for path in filter(_names_bytes, listed.split("\0")):
        _add_file(found, repo / path, "the checkout")
    _add_refs(found, repo, set(pins))
    return found


def _add_refs(found: Named, repo: Path, without: set[str]) -> None:
    """What HEAD and the tip of every ref name."""
    listed = git(repo, "for-each-ref", "--format=%(refname)").split()
    seen = set()
    for ref in ("HEAD", *(ref for ref in listed if ref not in without)):
        told = f"git's {ref.removeprefix('refs/heads/').removeprefix('refs/')}"
        for line in git(repo, "ls-tree", "-r", "-z", ref).split("\0"):
            about, _, path = line.partition("\t")
            if _names_bytes(path) and (blob := about.split(" ")[2]) not in seen:
                seen.add(blob)
                _add(found, git(repo, "cat-file", "blob", blob), told)


def _add_file(found: Named, path: Path, by: str) -> None:
    if path.is_file():
        _add(found, path.read_text(encoding="utf-8", errors="replace"), by)


def _names_bytes(path: str) -> bool:
    name = PurePosixPath(path).name
    return name in NAMING or name.endswith(".dvc")


def _add(found: Named, text: str, by: str) -> None:
    for each in HASH.findall(text):
        found.setdefault(each, by)


def with_files(place: Path, named: Named) -> Named:
    """The same with the files of every folder's list that is in the cache.

    Raises GanpipeError for a damaged list: which bytes it named is not known.
    """
    whole = dict(named)
    for each, by in named.items():
        path = place / OBJECTS / each[:2] / each[2:]
        if not each.endswith(".dir") or not path.is_file():
            continue
        text = path.read_bytes()
        if hashlib.md5(text, usedforsecurity=False).hexdigest() != each.removesuffix(".dir"):
            raise GanpipeError(
                f"{path} is damaged, so nobody knows what else {by} names: delete it and run "
                "`dvc fetch`"
            )
        for entry in json.loads(text):
            whole.setdefault(str(entry["md5"]), by)
    return whole


def items(place: Path, named: Named, rules: Rules) -> list[Item]:
    """What lies in the cache: notes of finished stages, folders' lists, files.

    In the order of deletion: killed after any of them, what is left is whole. Raises GanpipeError
    for a damaged list of a folder that stays.
    """
    listed = sorted(_objects(place))
    folders = [_entry(place, path, named, rules) for path in listed if path.suffix]
    young = {_hash(item): "a folder that stays" for item in folders if not item.goes}
    named = with_files(place, {**young, **named})
    entries = folders + [_entry(place, path, named, rules) for path in listed if not path.suffix]
    going = {_hash(item) for item in entries if item.goes}
    notes = []
    for path in sorted((place / RUNS).glob("*/*/*")):
        lost = going & set(HASH.findall(path.read_text(encoding="utf-8", errors="replace")))
        where, about = path.relative_to(place).as_posix(), path.stat()
        # of no use without its outputs, whatever its age
        written, needed = (0.0, "") if lost else (about.st_mtime, "its outputs stay")
        notes.append(
            judged("cache", where, where, written, rules, size=about.st_size, needed=needed)
        )
    return notes + entries


def _hash(item: Item) -> str:
    return "".join(item.where.split("/")[-2:])


def _objects(place: Path) -> Iterator[Path]:
    for path in (place / OBJECTS).glob("[0-9a-f][0-9a-f]/*"):
        if ENTRY.fullmatch(path.name):
            yield path


def _entry(place: Path, path: Path, named: Named, rules: Rules) -> Item:
    about = path.stat()
    where = path.relative_to(place).as_posix()
    by = named.get(path.parent.name + path.name, "")
    return judged(
        "cache",
        where,
        where,
        about.st_mtime,
        rules,
        size=about.st_size,
        needed=by and f"named by {by}",
    )


def remove(place: Path, item: Item) -> None:
    path = place / item.where
    if RUNS not in PurePosixPath(item.where).parents or list(path.parent.iterdir()) != [path]:
        path.unlink()
        return
    # DVC fails on a stage whose folder of notes is empty, so the folder must go at once
    beside = place / f"{path.parent.name}{LEFT}"
    path.parent.rename(beside)
    shutil.rmtree(beside)


def clear(place: Path) -> None:
    """Delete what a collection that was killed left half-deleted."""
    for left in place.glob(f"*{LEFT}"):
        shutil.rmtree(left)


def pins(repo: Path, needed: Iterable[str]) -> list[str]:
    """The refs that keep runs' commits and that nothing needs any more."""
    kept = {f"{PINS}{commit}" for commit in needed}
    listed = git(repo, "for-each-ref", "--format=%(refname)", PINS).split()
    return [ref for ref in listed if ref not in kept]
