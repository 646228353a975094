"""Which files of a source are used: duplicates, sides, classes. A pure function of all facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganpipe.data.colours import GREY_MODES
from ganpipe.data.find import Found
from ganpipe.data.manifest import COLUMNS
from ganpipe.data.near import near_duplicates
from ganpipe.data.sources.base import Source
from ganpipe.data.words import shown
from ganpipe.errors import GanpipeError
from ganpipe.params import DataParams

if TYPE_CHECKING:
    import pandas as pd


def judge(found: Found, params: DataParams) -> pd.DataFrame:
    """The manifest but for the places in shards: one row for each file, ordered by path."""
    frame = _table(found)
    if params.labels == "none":
        frame["label"] = ""
    too_small = frame[["width", "height"]].min(axis=1) < params.min_side
    frame.loc[_good(frame) & too_small, "status"] = "too-small"
    _set_duplicates_aside(frame)
    by_content = _sides(frame["pixels_sha256"], params.test_fraction)
    frame["split"] = frame["split"].where(frame["split"] != "", by_content)
    if params.near_duplicates != "keep":
        _set_near_duplicates_aside(frame, params)
    frame.loc[~_good(frame), "split"] = ""
    return frame


def _table(found: Found) -> pd.DataFrame:
    import pandas as pd

    from ganpipe.data.examine import Facts

    columns: dict[str, Any] = {
        "path": [entry.path for entry in found.entries],
        "label": [entry.label for entry in found.entries],
        "caption": [entry.caption for entry in found.entries],
        "split": [entry.split for entry in found.entries],
        "sha256": found.sha256,
        "bytes": found.sizes,
        "of": "",
        "shard": "",
        "offset": -1,
    }
    for place, name in enumerate(Facts._fields):
        columns[name] = [facts[place] for facts in found.facts]
    return pd.DataFrame(columns).astype(COLUMNS)[list(COLUMNS)]


def _good(frame: pd.DataFrame) -> pd.Series[bool]:
    return frame["status"] == "ok"


def _set_duplicates_aside(frame: pd.DataFrame) -> None:
    """Of images with the same pixels the first by path stays."""
    good = frame[_good(frame)]
    first = good.groupby("pixels_sha256", sort=False)["path"].transform("first")
    repeats = first.index[first != good["path"]]
    frame.loc[repeats, "status"] = "duplicate-of"
    frame.loc[repeats, "of"] = first[repeats]


def _sides(pixels_sha256: pd.Series[str], test_fraction: float) -> list[str]:
    """A side chosen by the pixels, so that an image never changes sides, however it is stored."""
    edge = test_fraction * 2**32
    return [
        "" if not digest else "test" if int(digest[:8], 16) < edge else "train"
        for digest in pixels_sha256.tolist()
    ]


def _set_near_duplicates_aside(frame: pd.DataFrame, params: DataParams) -> None:
    good = frame[_good(frame)]
    hashes = np.array([int(bits, 16) for bits in good["perceptual_hash"]], dtype=np.uint64)
    sides, labels = good["split"].tolist(), good["label"].tolist()
    across = params.near_duplicates == "set-aside-across"
    repeats = near_duplicates(hashes, sides, labels, params.near_distance, across=across)
    rows = good.index[list(repeats)]
    frame.loc[rows, "status"] = "near-duplicate-of"
    frame.loc[rows, "of"] = good["path"].iloc[list(repeats.values())].to_numpy()


def summarise(frame: pd.DataFrame, source: Source, params: DataParams) -> dict[str, Any]:
    """What raw.json tells: counts by status, split and class.

    Raises GanpipeError when there is no usable image.
    """
    statuses = {str(key): int(n) for key, n in frame["status"].value_counts().sort_index().items()}
    good = frame[_good(frame)]
    if frame.empty:
        raise GanpipeError(f"the source holds no files: check data.path={params.path}")
    if good.empty:
        told = ", ".join(f"{count} {status}" for status, count in statuses.items())
        raise GanpipeError(
            f"none of the {len(frame)} files is a usable image ({told}): "
            f"the first is {shown(frame['path'].iloc[0])!r}; check data.path={params.path}"
        )
    counts = {str(key): int(n) for key, n in good["label"].value_counts().items()}
    classes, why = _classes(good, counts, source)
    return {
        "count": len(good),
        "files": len(frame),
        "statuses": statuses,
        "splits": {side: int((good["split"] == side).sum()) for side in ("train", "test")},
        "classes": classes,
        "class_counts": {name: counts[name] for name in classes},
        "label_counts": {
            str(name): counts.get(str(name), 0) for name in sorted(set(frame["label"]) - {""})
        },
        "in_several_classes": _in_several_classes(frame) if classes else [],
        "unlabelled_because": why,
        "bytes": int(good["bytes"].sum()),
        "grey": bool(good["mode"].isin(list(GREY_MODES)).all()),
        "resolution": source.resolution,
    }


def _in_several_classes(frame: pd.DataFrame) -> list[str]:
    """Paths of duplicates that lie in another class than the image that is used."""
    repeats = frame[frame["status"] == "duplicate-of"]
    used = frame.set_index("path")["label"]
    other = repeats["label"].to_numpy() != used[repeats["of"]].to_numpy()
    return [str(path) for path in repeats["path"][other]]


def _classes(good: pd.DataFrame, counts: dict[str, int], source: Source) -> tuple[list[str], str]:
    """Class names in the order of their numbers, or none and why."""
    if "" in counts:
        example = good.loc[good["label"] == "", "path"].iloc[0]
        if len(counts) == 1:
            return [], "no image says its class"
        return [], (
            f"{counts['']} usable images have no class, for instance {shown(example)!r} "
            f"(data.labels=folders sets those aside)"
        )
    if len(counts) == 1:
        return [], f"all images are of one class, {shown(next(iter(counts)))!r}"
    return [name for name in source.classes or sorted(counts) if name in counts], ""
