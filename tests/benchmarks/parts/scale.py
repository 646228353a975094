"""CelebA's count of images against a quarter of it: time in proportion, memory flat."""

from __future__ import annotations

import os
import shutil
from statistics import median

from tests.benchmarks.alone import Ran, alone
from tests.benchmarks.figures import Figure, Place, rate
from tests.benchmarks.photographs import CELEBA, write_photographs

GIB = 2**30


def measure(place: Place) -> list[Figure]:
    """Ingest and preprocess in processes of their own, the quarter before and after the whole."""
    count = place.size(CELEBA, 800)
    whole, quarter = place.folder / "whole", place.folder / "quarter"
    write_photographs(whole, count, place.processes)
    quarter.mkdir()
    for path in sorted(whole.iterdir())[: count // 4]:
        os.link(path, quarter / path.name)
    runs: dict[tuple[str, str], list[Ran]] = {}
    for folder in (quarter, whole, quarter)[: place.size(3, 2)]:
        raw, sets = place.folder / "raw", place.folder / "sets"
        for stage, source, output in (("ingest", folder, raw), ("preprocess", raw, sets)):
            ran = alone(
                stage, source=source, output=output, processes=place.processes, resolution=64
            )
            runs.setdefault((stage, folder.name), []).append(ran)
        shutil.rmtree(raw)
        shutil.rmtree(sets)
    return [
        figure
        for stage in ("ingest", "preprocess")
        for figure in _figures(stage, count, runs[stage, "whole"], runs[stage, "quarter"])
    ]


def _figures(stage: str, count: int, whole: list[Ran], quarter: list[Ran]) -> list[Figure]:
    seconds, seconds_of_quarter = ([ran.seconds for ran in runs] for runs in (whole, quarter))
    per_image = median(seconds) / count
    per_image_of_quarter = median(seconds_of_quarter) / (count // 4)
    runs = whole + quarter
    main_bytes = [ran.main_bytes / GIB for ran in runs]
    worker_bytes = [ran.worker_bytes / GIB for ran in runs]
    busy = median(ran.main_cpu / ran.seconds for ran in whole)
    return [
        rate(f"{stage} of {count:,} images", count, seconds),
        Figure(
            f"{stage}: time per image against that of a quarter as many",
            per_image / per_image_of_quarter,
            "x",
            ceiling=1.1,
            samples=seconds + seconds_of_quarter,
        ),
        Figure(f"{stage}: main process computing", busy, "of the time"),
        Figure(
            f"{stage}: peak memory, main process", max(main_bytes), "GiB", None, 1.0, main_bytes
        ),
        Figure(
            f"{stage}: peak memory, largest worker",
            max(worker_bytes),
            "GiB",
            ceiling=1.0,
            samples=worker_bytes,
        ),
    ]
