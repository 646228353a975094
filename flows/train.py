"""The flow `train`: images in, a measured and registered generator out."""

from __future__ import annotations

import warnings
from pathlib import PurePosixPath
from typing import Any

from prefect import flow
from prefect.runtime import flow_run as runtime

from flows.pipeline import pipeline
from flows.signature import typed
from flows.stage import failed
from flows.summary import Summary
from ganpipe import presets
from ganpipe.errors import GanpipeError
from ganpipe.params import (
    NEEDS_PATH,
    ComputeParams,
    DataParams,
    EvaluateParams,
    ModelParams,
    Params,
    RegisterParams,
    TrainParams,
)

__all__ = ["Summary", "pipeline", "run_name", "told_of", "train"]

# The form's sections are those of params.yaml; pydantic's base class happens to have an
# attribute called `register`, which no parameter model uses.
warnings.filterwarnings(
    "ignore", message='Field name "register" in .* shadows an attribute', category=UserWarning
)


def run_name() -> str:
    """Like `train fashion-mnist r3gan-tiny 300kimg`."""
    chosen = runtime.parameters
    return (
        f"train {told_of(*(dict(chosen.get(name) or {}) for name in ('data', 'model', 'train')))}"
    )


def told_of(data: dict[str, Any], model: dict[str, Any], train: dict[str, Any]) -> str:
    """The images, the networks and the length of a run, from what of its sections is given."""
    source = data.get("source", DataParams().source)
    place = PurePosixPath(str(data.get("path", "")).partition("?")[0])
    images = (source in NEEDS_PATH and place.name) or source
    kimg = float(train.get("kimg", TrainParams().kimg))
    return f"{images} {_networks({**ModelParams().model_dump(), **model})} {kimg:g}kimg"


def _networks(model: dict[str, Any]) -> str:
    """The preset whose networks these are, else their family."""
    for name in presets.names():
        wanted = presets.keys(name).get("model", {})
        # some presets are of a family and no more
        if len(wanted) > 1 and wanted.items() <= model.items():
            return name
    return str(model["architecture"])


@flow(name="train", flow_run_name=run_name)
@typed
def train(
    data: DataParams = DataParams(),  # noqa: B008 - frozen, and the form shows it
    model: ModelParams = ModelParams(),  # noqa: B008
    train: TrainParams = TrainParams(),  # noqa: B008
    evaluate: EvaluateParams = EvaluateParams(),  # noqa: B008
    register: RegisterParams = RegisterParams(),  # noqa: B008
    compute: ComputeParams = ComputeParams(),  # noqa: B008
) -> Any:
    """Train a generator, measure it, and register it.

    Stages whose inputs did not change come from DVC's cache. The run works in a checkout of its
    own: nothing in the repository changes until `ganpipe adopt`. A retry goes on where it was.
    """
    sections = {"data": data, "model": model, "train": train, "evaluate": evaluate}
    sections |= {"register": register, "compute": compute}
    try:
        return pipeline(Params.model_validate(sections))
    except GanpipeError as problem:
        return failed(problem)
