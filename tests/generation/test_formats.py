"""What was written opens again: as a data set, with ganpipe's ingest, and as Parquet anywhere."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganpipe import serving
from ganpipe.data.dataset import Dataset
from ganpipe.data.ingest import ingest
from ganpipe.data.preprocess import preprocess
from ganpipe.data.sources import make_source
from ganpipe.networks import load_generator
from ganpipe.params import ComputeParams, DataParams
from tests.generation.conftest import CLASSES, Make


def test_shards_open_as_a_data_set(classy: Path, tmp_path: Path, make: Make) -> None:
    make(classy, tmp_path / "out", n=150, format="shards", classes="balanced", rows=64)
    found = Dataset(tmp_path / "out")
    assert (len(found), found.height, found.width, found.channels) == (150, 8, 8, 1)
    assert found.classes == CLASSES
    assert found.labels is not None
    assert np.bincount(found.labels).tolist() == [50, 50, 50]
    assert len(found.shards) == 3
    each = [serving.generate(load_generator(classy), 150, label=number) for number in range(3)]
    expected = np.stack([each[label][place] for place, label in enumerate(found.labels)])
    assert np.array_equal(found.batch(np.arange(150)), expected)


def taken_in(place: Path, source: str, root: Path) -> tuple[dict[str, Any], Dataset, Dataset]:
    """What ingest and preprocess make of a place."""
    params = DataParams.model_validate({"source": source, "path": str(place), "min_side": 4})
    compute = ComputeParams(processes=1)
    raw = root / "raw"
    summary = ingest(make_source(params), raw, params, compute, root / "cache")
    outputs = {split: root / split for split in ("train", "test")}
    preprocess(raw, outputs, params, compute)
    return summary, Dataset(outputs["train"]), Dataset(outputs["test"])


@pytest.mark.parametrize("model", ["plain", "classy"])
@pytest.mark.parametrize(("kind", "source"), [("png", "folder"), ("parquet", "parquet")])
def test_png_folders_and_parquet_are_ingested_again(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make: Make,
    model: str,
    kind: str,
    source: str,
) -> None:
    folder = request.getfixturevalue(model)
    make(folder, tmp_path / "out", n=150, format=kind, rows=64)
    summary, train, test = taken_in(tmp_path / "out", source, tmp_path / "in")
    images = serving.generate(load_generator(folder), 150)
    different = {image.tobytes() for image in images}
    found = {
        image.tobytes() for each in (train, test) for image in each.batch(np.arange(len(each)))
    }
    assert found == different
    assert len(train) + len(test) == len(different)  # ingest takes equal pixels once
    assert train.classes == (
        [] if model == "plain" else [*sorted(CLASSES)] if kind == "png" else CLASSES
    )
    assert summary["count"] == len(different)


def test_parquet_has_hugging_faces_layout(classy: Path, tmp_path: Path, make: Make) -> None:
    make(classy, tmp_path / "out", n=100, format="parquet", rows=64)
    paths = sorted((tmp_path / "out").glob("*.parquet"))
    assert [path.name for path in paths] == ["images-00000.parquet", "images-00001.parquet"]
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    expected = serving.generate(load_generator(classy), 100)
    for row, image in zip(rows, expected, strict=True):
        with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
            assert np.array_equal(np.asarray(picture), image[:, :, 0])
    told = json.loads(pq.read_schema(paths[0]).metadata[b"huggingface"])
    assert told["info"]["features"]["label"] == {"names": CLASSES, "_type": "ClassLabel"}


def test_the_grid_shows_the_first_images_in_every_format(
    plain: Path, tmp_path: Path, make: Make
) -> None:
    grids = set()
    for kind in ("png", "shards", "parquet"):
        make(plain, tmp_path / kind, n=100, format=kind)
        grids.add((tmp_path / kind / "grid.png").read_bytes())
    assert len(grids) == 1
