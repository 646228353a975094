"""A generator as an ONNX file, for programs without PyTorch."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganpipe.errors import GanpipeError
from ganpipe.files import replacing, sha256
from ganpipe.networks import Generator, load_generator
from ganpipe.networks.generator import WEIGHTS, drawn_labels, latent_vectors
from ganpipe.packaging import GENERATOR_TAG

NEEDED = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
CHECKED_BATCHES = (1, 2, 7, 64)


def to_onnx(folder: Path, out: Path, source: str) -> float:
    """Write a folder's generator to `out`; the greatest difference from PyTorch's images.

    Inputs: `latents` float32 [n, latent], standard normal, and where there are classes `labels`
    int64 [n]. Output: `images` float32 [n, C, H, W], nominally in [-1, 1]. The file's metadata
    says so too, with class names, the weights' sha256 and `source`, what the model was called.
    Raises GanpipeError, leaving no file, when packages are missing or images differ by more
    than 1e-4.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise GanpipeError(
            f"{', '.join(missing)} not installed: `pip install 'ganpipe[onnx]'`, or "
            f"`pip install {' '.join(NEEDED)}`"
        )
    if out.expanduser().is_dir():
        raise GanpipeError(f"--out={out} is a folder: name a file in it")
    import onnx

    generator = load_generator(folder)
    program = _traced(generator)
    onnx.helper.set_model_props(program, _metadata(generator, folder, source))
    content = program.SerializeToString()
    # numpy's keeps a NaN, wherever it stands
    difference = float(np.max([_difference(generator, content, n) for n in CHECKED_BATCHES]))
    if not difference <= TOLERANCE:
        raise GanpipeError(
            f"{source} as ONNX makes images that differ by {difference:.3g} from PyTorch's, more "
            f"than {TOLERANCE:g}: nothing was written"
        )
    with replacing(out.expanduser()) as beside:
        beside.write_bytes(content)
    return difference


def _traced(generator: Generator) -> Any:
    count = torch.export.Dim("n", min=1)
    arguments = _inputs(generator, 2)
    names = list(arguments)
    with _quiet(), torch.inference_mode(mode=False):
        program = torch.onnx.export(
            generator.network,
            tuple(torch.from_numpy(each) for each in arguments.values()),
            input_names=names,
            output_names=["images"],
            dynamic_shapes=tuple({0: count} for _ in names),
            dynamo=True,
            external_data=False,  # one file
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    return program.model_proto


def _inputs(generator: Generator, n: int) -> dict[str, Any]:
    """Arrays for n images, by name."""
    inputs: dict[str, Any] = {"latents": latent_vectors(generator.config, 0, "export", 0, n)}
    labels = drawn_labels(generator, 0, "export", 0, n)
    return inputs if labels is None else inputs | {"labels": labels}


def _difference(generator: Generator, content: bytes, n: int) -> float:
    """The greatest difference between ONNX Runtime's and PyTorch's images of the same latents."""
    import onnxruntime

    inputs = _inputs(generator, n)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(["images"], inputs)
    with torch.inference_mode():
        ours = generator.network(*(torch.from_numpy(each) for each in inputs.values()))
    if theirs.shape != tuple(ours.shape):
        raise GanpipeError(f"ONNX makes images of shape {theirs.shape}, PyTorch {ours.shape}")
    return float(np.abs(theirs - ours.numpy()).max())


def _metadata(generator: Generator, folder: Path, source: str) -> dict[str, str]:
    config = generator.config
    return {
        "ganpipe.source": source,
        GENERATOR_TAG: sha256(folder / WEIGHTS),
        "ganpipe.architecture": config.architecture,
        "ganpipe.classes": json.dumps(generator.classes),
        "ganpipe.latents": f"float32 [n, {config.latent}], standard normal",
        "ganpipe.value_range": "[-1, 1]: clamp, then round(x * 127.5 + 127.5) for 0 to 255",
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and its remarks on its own insides from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
