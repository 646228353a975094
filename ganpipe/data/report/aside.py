"""The files that are not used, and what the duplicates among them repeat."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ganpipe.data.manifest import STATUSES
from ganpipe.data.report.facts import status_counts
from ganpipe.data.words import size

if TYPE_CHECKING:
    import pandas as pd

Row = dict[Hashable, Any]  # of the manifest


@dataclass(frozen=True)
class SetAside:
    """A file that is not used; `kept` is the used image that it repeats, if it repeats one."""

    path: str
    of: str
    kept: str
    facts: str
    kept_facts: str
    bits: int | None


@dataclass(frozen=True)
class Group:
    """Files set aside for one reason: their number, and the first of them by path."""

    status: str
    meaning: str
    count: int
    files: list[SetAside]

    @property
    def more(self) -> int:
        return self.count - len(self.files)


def set_aside(manifest: pd.DataFrame, limit: int) -> list[Group]:
    """The files set aside by reason: the first of each by path, at most `limit` altogether.

    No reason is crowded out by a frequent one: the rare ones are shown whole first.
    """
    counts = {name: number for name, number in status_counts(manifest).items() if name != "ok"}
    shares, left = {}, limit
    for places, status in zip(
        range(len(counts), 0, -1), sorted(counts, key=counts.__getitem__), strict=True
    ):
        shares[status] = min(counts[status], left // places)
        left -= shares[status]
    listed = {
        status: np.flatnonzero(manifest["status"] == status)[: shares[status]] for status in counts
    }
    rows = _with_originals(manifest, [row for some in listed.values() for row in some.tolist()])
    return [
        Group(
            status,
            STATUSES[status],
            counts[status],
            [_file(rows[path], rows) for path in manifest["path"].iloc[some]],
        )
        for status, some in listed.items()
    ]


def _with_originals(manifest: pd.DataFrame, numbers: list[int]) -> dict[str, Row]:
    """Some rows by path, and those of the files that they repeat, and what those repeat."""
    rows: dict[str, Row] = {}
    while numbers:
        found = manifest.iloc[numbers].to_dict("records")
        rows |= {row["path"]: row for row in found}
        wanted = {row["of"] for row in found} - rows.keys()
        numbers = np.flatnonzero(manifest["path"].isin(wanted - {""})).tolist()
    return rows


def _file(file: Row, rows: dict[str, Row]) -> SetAside:
    kept = _kept(file["of"], rows)
    if not kept:
        return SetAside(file["path"], file["of"], "", _in_words(file), "", None)
    bits = _bits(file["perceptual_hash"], rows[kept]["perceptual_hash"])
    return SetAside(file["path"], file["of"], kept, _in_words(file), _in_words(rows[kept]), bits)


def _in_words(file: Row) -> str:
    shape = f"{file['width']} × {file['height']} " if file["width"] else ""  # noqa: RUF001
    parts = (f"{shape}{file['format']}".strip(), size(file["bytes"]) if file["bytes"] else "")
    return ", ".join(filter(None, parts))


def _kept(of: str, rows: dict[str, Row]) -> str:
    """The used image behind a duplicate, which may itself repeat one that was set aside."""
    seen: set[str] = set()
    while of in rows and of not in seen:
        if rows[of]["status"] == "ok":
            return of
        seen.add(of)
        of = rows[of]["of"]
    return ""


def _bits(one: str, other: str) -> int | None:
    """In how many bits two perceptual hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count() if one and other else None
