"""Decode, crop and resize: against the tool most people use, and against the bare libraries."""

from __future__ import annotations

from functools import partial

from ganpipe.data.ingest import ingest
from ganpipe.data.preprocess import preprocess
from ganpipe.data.sources.folder import Folder
from ganpipe.params import ComputeParams, DataParams
from tests.benchmarks.baselines import bare, dataset_tool
from tests.benchmarks.figures import Figure, Place, interleaved, rate, ratio, silence
from tests.benchmarks.photographs import write_photographs

SIDE = 64
REPETITIONS = 5


def measure(place: Place) -> list[Figure]:
    """JPEGs of CelebA's size to 64x64: from files for the baselines, from data/raw for ours."""
    count = place.size(20_000, 600)
    folder, raw = place.folder / "photographs", place.folder / "raw"
    write_photographs(folder, count, place.processes)
    photos = sorted(folder.iterdir())
    params = DataParams(source="folder", path=str(folder), resolution=SIDE)
    compute = ComputeParams(processes=place.processes)
    outputs = {side: place.folder / side for side in ("train", "test")}
    with silence():
        ingest(Folder(params.path), raw, params, compute)
        with bare(place.processes, SIDE) as decode_and_resize:
            seconds = interleaved(
                1 + place.size(REPETITIONS, 1),
                {
                    "tool": partial(dataset_tool, photos, place.folder / "tool.zip", SIDE),
                    "bare": partial(decode_and_resize, photos),
                    "ours": partial(preprocess, raw, outputs, params, compute),
                },
            )
    first = seconds["ours"][0]
    # the first round loads libraries and fills the page cache
    tool, bare_, ours = (seconds[name][1:] for name in ("tool", "bare", "ours"))
    return [
        rate("dataset_tool's algorithm, one process", count, tool),
        rate(f"bare decode + resize, {place.processes} processes", count, bare_),
        rate(f"preprocess, {place.processes} processes", count, ours),
        ratio("preprocess v dataset_tool's algorithm", tool, ours, floor=2.5),
        ratio("preprocess v bare decode + resize", bare_, ours, floor=0.9),
        Figure("preprocess, first call: start of workers and libraries", first, "s"),
    ]
