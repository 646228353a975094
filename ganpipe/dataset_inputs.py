"""The data set of a run as MLflow's page shows it: inputs with counts, shapes and digests."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ganpipe.params import NEEDS_PATH, PARAMS_FILE, DataParams, load

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ganpipe.data.dataset import Dataset as Images

DIGEST_CHARACTERS = 36  # all that MLflow stores of a dataset's digest
MLFLOW_CONTEXTS = {"train": "training", "test": "testing"}


def log_dataset(client: MlflowClient, run_id: str, workspace: Path) -> None:
    """Both sides of the data set as inputs of the run, under the digests of their content."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    from ganpipe.data.dataset import Dataset as Images
    from ganpipe.data.report.facts import class_counts
    from ganpipe.data.sources import read_fingerprint

    data = load(workspace / PARAMS_FILE).data
    source = {**data.model_dump(mode="json"), "fingerprint": read_fingerprint(workspace)}
    sides = {side: Images(workspace / "data" / side) for side in MLFLOW_CONTEXTS}
    counts = class_counts(sides["train"], sides["test"])
    inputs = []
    for side, found in sides.items():
        profile = {
            "split": side,
            "count": len(found),
            "height": found.height,
            "width": found.width,
            "channels": found.channels,
            "classes": {each.name: getattr(each, side) for each in counts},
            "sha256": found.sha256,
        }
        entry = Dataset(
            name=_name(data),
            digest=found.sha256[:DIGEST_CHARACTERS],
            source_type="ganpipe",
            source=json.dumps(source),
            schema=_schema(found),
            profile=json.dumps(profile),
        )
        tags = [InputTag("mlflow.data.context", MLFLOW_CONTEXTS[side])]
        inputs.append(DatasetInput(dataset=entry, tags=tags))
    client.log_inputs(run_id, inputs)


def _name(data: DataParams) -> str:
    """The name of the folder, archive or file that was read, or of the data set."""
    if data.source not in NEEDS_PATH:
        return data.source
    return PurePosixPath(data.path.partition("?")[0]).name or data.source


def _schema(found: Images) -> str:
    import numpy as np
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.types import Schema, TensorSpec

    shape = (-1, found.height, found.width, found.channels)
    arrays = [Schema([TensorSpec(np.dtype("uint8"), shape)])]
    if found.classes:
        arrays.append(Schema([TensorSpec(np.dtype("int64"), (-1,))]))
    return json.dumps(TensorDatasetSchema(*arrays).to_dict())
