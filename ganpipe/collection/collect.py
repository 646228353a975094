"""`ganpipe gc`: first a plan as plain data, then its execution, which looks at everything again."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ganpipe import workspace
from ganpipe.collection import cache, folders, notes, records, tracked
from ganpipe.collection.items import Item, Rules
from ganpipe.collection.locks import dvc_at_work, only_collector, sole_user
from ganpipe.errors import GanpipeError
from ganpipe.packaging import GENERATOR_TAG
from ganpipe.tracking import check
from ganpipe.workspace import git

IN_USE = frozenset({"workspaces", "notes", "cache"})  # by whoever holds `locks.using_cache`
WAIT = "bytes may be there that no lock names yet: wait for it and run `ganpipe gc` again"


@dataclass(frozen=True)
class Plan:
    """What would go and what stays, in the order of deletion."""

    items: list[Item]
    pins: list[str]
    """Refs of commits that no run needs any more; they go with the cache."""
    refused: str
    """Why nothing of the cache goes; empty when it may."""

    @property
    def going(self) -> list[Item]:
        return [item for item in self.items if item.goes]


def plan(repo: Path, uri: str, rules: Rules) -> Plan:
    """What `collect` would delete; changes nothing.

    Raises GanpipeError when MLflow does not answer: nobody knows then what is needed.
    """
    check(uri)
    state = workspace.state_folder(repo)
    known = tracked.read(uri)
    versions = records.version_items(known, rules)
    staying = [each for each, item in zip(known.versions, versions, strict=True) if not item.goes]
    runs = records.run_items(known, staying, rules)
    gone = {item.where for item in runs if item.goes}
    left = [
        replace(known, versions=staying, runs=[r for r in known.runs if r.info.run_id not in gone])
    ]
    if other := tracked.beside(state, uri):
        left.append(tracked.read(other))
    models = {version.found.name for each in (known, *left[1:]) for version in each.versions}
    running = tracked.running_runs(known)
    spaces = folders.workspaces(repo, running, rules)
    kept = [Path(item.where) for item in spaces if not item.goes]
    pins = cache.pins(repo, _commits(left, kept)) if "cache" in rules.kinds else []
    digests = {version.tags.get(GENERATOR_TAG, ""): version.told for version in staying}
    found = [
        *spaces,
        *folders.states(state, rules),
        *versions,
        *records.file_items(known, staying, rules),
        *runs,
        *folders.downloads(state, digests, rules),
        *folders.logs(state, rules),
        *notes.notes(state, models, rules),
    ]
    entries: list[Item] = []
    refused = ""
    if "cache" in rules.kinds:
        try:
            place = cache.folder(repo)
            named = cache.with_files(place, cache.named(repo, left, kept, pins))
            entries = cache.items(place, named, rules)
            refused = _busy(repo, kept, running)
        except GanpipeError as error:
            refused = str(error)
    return Plan(found + ([] if refused else entries), pins, refused)


def _commits(left: Iterable[tracked.Tracked], workspaces: Iterable[Path]) -> set[str]:
    """The commits that versions, runs and workspaces were made of."""
    found = {version.tags.get(tracked.COMMIT_TAG, "") for each in left for version in each.versions}
    found |= {run.data.tags.get(tracked.COMMIT_TAG, "") for each in left for run in each.runs}
    heads = [place / ".git" / "HEAD" for place in workspaces]
    return found | {head.read_text(encoding="utf-8").strip() for head in heads if head.is_file()}


def _busy(repo: Path, workspaces: Iterable[Path], running: Mapping[str, str]) -> str:
    here = [name for name, why in running.items() if why == tracked.under_way(socket.gethostname())]
    if here:
        return f"run {here[-1]} is under way: {WAIT}"
    busy = [place for place in (repo, *workspaces) if dvc_at_work(place)]
    return f"DVC is at work in {busy[0]}: {WAIT}" if busy else ""


def collect(
    repo: Path,
    uri: str,
    approved: Plan,
    rules: Rules,
    *,
    lock: AbstractContextManager[Any],
    done: Callable[[Item], None] = lambda item: None,
) -> None:
    """Delete what `approved` says goes, as far as it still may.

    `lock` is that of promotions: none happens meanwhile. First go workspaces, versions and runs;
    then everything is looked at anew, and of the cache goes what nothing that is left names.
    Killed at any moment, the next collection goes on. `done` is told of each item that is gone.
    Raises GanpipeError when MLflow does not answer, another collection runs, something that was
    to go came into use, or the cache must be left alone.
    """
    state = workspace.state_folder(repo)
    rules = replace(rules, allowed=frozenset(item.key for item in approved.going))
    roots = [state / name for name in ("workspaces", "scratch", "models", "logs")]
    with only_collector(state), lock, sole_user(state) as alone:
        # which workspace a run has, MLflow may not know yet
        now = rules.kinds - (IN_USE if not alone else {"cache"})
        for item in plan(repo, uri, replace(rules, kinds=now)).going:
            if item.kind in ("versions", "runs"):
                records.remove(uri, item)
            elif item.kind == "notes":
                notes.remove(item, state)
            else:
                folders.remove(item, roots)
            done(item)
        if not alone and rules.kinds & IN_USE:
            raise GanpipeError(
                "a run is under way, so no workspace, no notes and nothing of DVC's cache was "
                "deleted: wait for it and run `ganpipe gc` again"
            )
        if "cache" in rules.kinds:
            _collect_bytes(repo, uri, approved, rules, done)


def _collect_bytes(
    repo: Path, uri: str, approved: Plan, rules: Rules, done: Callable[[Item], None]
) -> None:
    left = plan(repo, uri, replace(rules, kinds=frozenset({"cache"})))
    if left.refused:
        raise GanpipeError(f"nothing of DVC's cache was deleted: {left.refused}")
    place = cache.folder(repo)
    cache.clear(place)
    for item in left.going:
        cache.remove(place, item)
        done(item)
    for ref in set(left.pins) & set(approved.pins):
        git(repo, "update-ref", "-d", ref)
