"""A second ingest: of a source that is as it was, and of one that grew by a hundredth."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from statistics import median

from tests.benchmarks.alone import alone
from tests.benchmarks.figures import Figure, Place
from tests.benchmarks.photographs import CELEBA, write_photographs

REPETITIONS = 3


def measure(place: Place) -> list[Figure]:
    """Each in a process of its own, with data/raw deleted before, as DVC does."""
    count = place.size(CELEBA, 800)
    folder, later = place.folder / "images", place.folder / "later"
    write_photographs(folder, count + count // 100, place.processes)
    later.mkdir()
    photos = sorted(folder.iterdir())
    for path in photos[count:]:
        path.rename(later / path.name)
    new, step = sorted(later.iterdir()), count // (count // 100)
    at_the_end = {path: folder / f"later-{path.name}" for path in new}
    scattered = {
        path: folder / f"{photos[number * step].stem}-later.jpg" for number, path in enumerate(new)
    }
    first = _ingest(place, folder)
    seconds: dict[str, list[float]] = {"unchanged": [], "at the end": [], "scattered": []}
    for _ in range(place.size(REPETITIONS, 1)):
        seconds["unchanged"].append(_ingest(place, folder))
        for name, added in (("at the end", at_the_end), ("scattered", scattered)):
            for path, target in added.items():
                os.link(path, target)
            seconds[name].append(_ingest(place, folder))
            for target in added.values():
                target.unlink()
            _ingest(place, folder)  # back to where each of them starts from
    shares = {name: [each / first for each in taken] for name, taken in seconds.items()}
    names = {
        "unchanged": ("second ingest, nothing new", 0.02),
        "at the end": ("second ingest, 1 % new paths at the end", 0.1),
        "scattered": ("second ingest, 1 % new paths scattered", 0.1),
    }
    return [
        Figure(f"first ingest of {count:,} images", first, "s"),
        *(
            Figure(text, median(shares[name]), "of the first", None, most, shares[name])
            for name, (text, most) in names.items()
        ),
    ]


def _ingest(place: Place, source: Path) -> float:
    """Seconds."""
    output = place.folder / "raw"
    if output.exists():
        shutil.rmtree(output)
    cache = place.folder / "cache"
    ran = alone("ingest", source=source, output=output, processes=place.processes, cache=cache)
    assert ran.result["statuses"] == {"ok": len(list(source.iterdir()))}, ran.result
    return ran.seconds
