"""data/report: what the images are, for people: a page, a summary, a picture."""

from __future__ import annotations

from pathlib import Path

from ganpipe.data.dataset import Dataset
from ganpipe.data.manifest import read_manifest
from ganpipe.data.report.page import html
from ganpipe.data.report.pictures import sample_grid
from ganpipe.data.report.summary import markdown
from ganpipe.errors import GanpipeError
from ganpipe.files import replacing_folder
from ganpipe.images import write_png

__all__ = ["PAGE", "PICTURE", "SUMMARY", "write_report"]

PAGE = "data.html"
SUMMARY = "summary.md"
PICTURE = "data.png"


def write_report(raw: Path, datasets: dict[str, Path], output: Path) -> None:
    """Write data/report from data/raw and the data sets `train` and `test` made of it.

    `data.html` is one page of some 3 MB at most that needs nothing else, `summary.md` its short
    version, `data.png` a grid of random training images. The same inputs give the same bytes.
    Raises GanpipeError when a folder is missing or they do not belong together.
    """
    manifest = read_manifest(raw)
    train, test = Dataset(datasets["train"]), Dataset(datasets["test"])
    for split, dataset in (("train", train), ("test", test)):
        expected = int((manifest["split"] == split).sum())
        if len(dataset) != expected:
            raise GanpipeError(
                f"{dataset.folder} holds {len(dataset)} images, but {raw} has {expected} for "
                f"{split}: run the stage preprocess again"
            )
    with replacing_folder(output) as folder:
        (folder / PAGE).write_text(html(raw, manifest, train, test), encoding="utf-8")
        (folder / SUMMARY).write_text(markdown(manifest, train, test), encoding="utf-8")
        write_png(folder / PICTURE, sample_grid(train))
