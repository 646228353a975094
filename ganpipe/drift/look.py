"""A watch: what came in and what is served, against what the champion learnt from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganpipe.data.sources import make_source
from ganpipe.drift import incoming, seen
from ganpipe.drift.champion import Champion, learnt_from, open_champion
from ganpipe.drift.comparing import Comparing
from ganpipe.drift.finding import Watched
from ganpipe.params import DataParams
from ganpipe.params.watch import AS_TRAINED, WatchParams
from ganpipe.workspace import state_folder

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def look(repo: Path, uri: str, version: ModelVersion, params: WatchParams) -> Watched:
    """Compare what came in, and what was served, with the real images of a registered version.

    Deterministic: the same files, reference and parameters come to the same numbers. Raises
    GanpipeError for a version whose reference cannot be had, and a source that is missing.
    """
    place = state_folder(repo) / "watch" / _digest(version.name)
    champion = open_champion(repo, uri, version, place / "reference")
    asked = source_of(params, champion, repo)
    source = make_source(asked)
    entries = [entry for entry in source.entries if not entry.status]
    marks = seen.marks(entries)
    own = params.source == AS_TRAINED
    counted = place / "seen" / f"{_digest(asked.source + asked.path)}.npy"
    known = seen.read(counted) if params.only_new else marks[:0]
    if own and params.only_new and not len(known):
        learnt = learnt_from(repo, champion)
        known = marks[np.array([entry.path in learnt for entry in entries], bool)]
    new = [entries[number] for number in np.flatnonzero(~np.isin(marks, known))]
    comparing = Comparing(champion, params)
    came = None
    if len(new) >= params.least:
        wanted = incoming.chosen(new, params.most, params.seed)
        labelled = asked.labels != "none"
        came = incoming.take(source, wanted, champion.shape, asked.min_side, labelled=labelled)
    count = len(new) if came is None else len(came.images)
    if came is None or count < params.least:
        comparing.too_few(count)
    else:
        comparing.incoming(came)
    enough = count >= params.least and params.only_new
    others = source.fingerprint() if own and enough else {}
    if params.served:
        comparing.served(repo / Path(params.served).expanduser())

    def remember() -> None:
        if enough:
            seen.write(counted, marks)

    return Watched(
        champion=champion.name,
        listed=len(entries),
        new=len(new),
        looked_at=0 if came is None else len(came.images),
        set_aside={} if came is None else came.set_aside,
        findings=tuple(comparing.findings),
        left_out=comparing.left_out,
        shares=comparing.shares,
        by_classifier=comparing.by_classifier,
        pictures=comparing.pictures,
        others=others if others.get("digest") != champion.images else {},
        before=champion.images,
        remember=remember,
    )


def source_of(params: WatchParams, champion: Champion, repo: Path) -> DataParams:
    """Where images come in: the source that is asked for, read as the champion's data were."""
    if params.source == AS_TRAINED:
        return champion.data
    given = {"source": params.source, "path": params.path, "labels": params.labels}
    return champion.data.model_copy(update=given).anchored(repo)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
