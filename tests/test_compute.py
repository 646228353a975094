"""`auto` and 0 become what they mean here, before a stage runs."""

import os

import pytest
import torch

from ganpipe import compute, params
from ganpipe.errors import GanpipeError
from ganpipe.params import Params


def test_nothing_is_left_to_the_machine_after_resolving():
    resolved = compute.resolve(Params())
    assert resolved.train.device in ("cpu", "cuda")
    assert resolved.train.precision in ("bf16", "float32")
    assert resolved.train.threads == resolved.evaluate.threads == len(os.sched_getaffinity(0))
    assert compute.resolve(resolved) == resolved


def test_what_was_chosen_is_kept():
    chosen = params.override(
        Params(), ["train.device=cpu", "train.precision=float32", "train.threads=1"]
    )
    assert compute.resolve(chosen).train == chosen.train


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(GanpipeError, match=r"train\.device=cuda.*train\.device=cpu"):
        compute.resolve(params.override(Params(), ["train.device=cuda"]))


def test_a_resolution_that_cannot_be_made_is_refused():
    with pytest.raises(GanpipeError, match="30x30"):
        compute.resolve(params.override(Params(), ["data.resolution=30"]))
