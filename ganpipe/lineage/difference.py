"""Two versions compared: parameters, data, code, environment, measures."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe.errors import GanpipeError
from ganpipe.lineage import code
from ganpipe.lineage.record import record
from ganpipe.lineage.store import Store, opened
from ganpipe.workspace import git

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities.model_registry import ModelVersion

    from ganpipe.registry import Evaluation

RAW, MANIFEST = "data/raw", "manifest.parquet"


def difference(uri: str, one: ModelVersion, two: ModelVersion, repo: Path) -> dict[str, Any]:
    """What differs from version `one` to version `two`, as JSON values.

    names; params, environment and requirements: name to [one, two], where they differ; data:
    source, counts by class and where known images added and removed; code: commits and stat;
    measures: rows with both values where one protocol measured both, else why there are none.
    Raises GanpipeError when MLflow is out of reach or a version has no lineage.
    """
    first, second = record(uri, one), record(uri, two)
    measures, why = _measures(uri, one, two)
    return {
        "names": [f"{each['model']} version {each['version']}" for each in (first, second)],
        "params": _changes(first["params"], second["params"]),
        "data": _data(first, second, repo),
        "code": _code(first["code"], second["code"], repo),
        "environment": _changes(first["environment"], second["environment"]),
        "requirements": _changes(first["requirements"], second["requirements"]),
        "measures": measures,
        "not_compared": why,
    }


def _changes(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, list[Any]]:
    keys = dict.fromkeys((*one, *two))
    return {key: [one.get(key), two.get(key)] for key in keys if one.get(key) != two.get(key)}


def _data(one: Mapping[str, Any], two: Mapping[str, Any], repo: Path) -> dict[str, Any]:
    """`classes`: name to count of one, of two, added, removed (None where not known)."""
    counts = [each["manifest"].get("class_counts", {}) for each in (one, two)]
    totals = [each["manifest"].get("count") for each in (one, two)]
    hashes = [each["outputs"].get(RAW) for each in (one, two)]
    found: dict[str, Any] = {
        "source": _changes(one["source"], two["source"]),
        "manifest": [each["manifest"].get("sha256", "") for each in (one, two)],
        "digests": {
            side: [each["data"].get(side, {}).get("sha256", "") for each in (one, two)]
            for side in ("train", "test")
        },
        "same": hashes[0] == hashes[1],
        "count": totals,
        "added": 0,
        "removed": 0,
        "not_known": "",
    }
    added: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    known = True
    if not found["same"]:
        try:
            with opened(repo) as store:
                before, after = (_images(store, each) for each in hashes)
            added, removed = (
                Counter(label for label, _ in rest) for rest in (after - before, before - after)
            )
            found |= {"added": added.total(), "removed": removed.total()}
        except GanpipeError as error:
            known = False
            found |= {"added": None, "removed": None, "not_known": str(error)}
    names = dict.fromkeys((*counts[0], *counts[1], *added, *removed))
    found["classes"] = {
        name: [
            counts[0].get(name, 0),
            counts[1].get(name, 0),
            added[name] if known else None,
            removed[name] if known else None,
        ]
        for name in names
    }
    return found


def _images(store: Store, raw: str | None) -> set[tuple[str, str]]:
    """Label and sha256 of every image in use, by the manifest of a data/raw."""
    import pandas as pd

    if raw is None:
        raise GanpipeError(f"a version has no {RAW}")
    manifest = store.entries(raw).get(MANIFEST)
    if manifest is None:
        raise GanpipeError(f"{RAW} of a version has no {MANIFEST}")
    columns = ["label", "sha256", "status"]
    frame: pd.DataFrame = pd.read_parquet(io.BytesIO(store.read(manifest)), columns=columns)
    used = frame[frame["status"] == "ok"]
    return set(zip(used["label"], used["sha256"], strict=True))


def _code(one: Mapping[str, Any], two: Mapping[str, Any], repo: Path) -> dict[str, Any]:
    commits = [one["commit"], two["commit"]]
    absent = [each for each in commits if not each or not code.has(repo, each)]
    stat = "" if absent else git(repo, "diff", "--stat", "--no-color", "--no-ext-diff", *commits)
    return {"commits": commits, "same": commits[0] == commits[1], "stat": stat, "absent": absent}


def _measures(uri: str, one: ModelVersion, two: ModelVersion) -> tuple[list[dict[str, Any]], str]:
    """Rows of two's measures with one's values, or the reason why there are none."""
    from ganpipe.registry import comparable

    ours, theirs = comparable(uri, two, one)
    if ours is None or theirs is None:
        return [], "a version carries no evaluation"
    if ours.protocol != theirs.protocol:
        different = _changes(theirs.protocol, ours.protocol)
        pairs = "; ".join(f"{key} {was!r} v {is_!r}" for key, (was, is_) in different.items())
        return [], f"measured by different protocols ({pairs}): `ganpipe evaluate` measures anew"
    return _rows(ours, theirs), ""


def _rows(ours: Evaluation, theirs: Evaluation) -> list[dict[str, Any]]:
    from ganpipe.evaluation.report import Measure
    from ganpipe.evaluation.report.numbers import difference as judged

    known = {row["name"]: row for row in theirs.measures}
    rows = []
    for row in ours.measures:
        other = known.get(row["name"], {})
        beside = {"champion": other.get("value"), "champion_low": other.get("low")}
        beside["champion_high"] = other.get("high")
        found = judged(Measure(**{**row, **beside}))
        rows.append(
            {
                "name": row["name"],
                "better": row["better"],
                "one": [other.get(key) for key in ("value", "low", "high")],
                "two": [row.get(key) for key in ("value", "low", "high")],
                "floor": row.get("floor"),
                "amount": found.amount if found else "",
                "verdict": found.words if found else "not measured of both",
            }
        )
    return rows
