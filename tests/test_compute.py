"""`auto` and 0 become what they mean here, before a stage runs."""

import os
import resource
import subprocess
import sys

import pytest
import torch

from ganpipe import compute, params
from ganpipe.errors import GanpipeError
from ganpipe.params import Params


def test_nothing_is_left_to_the_machine_after_resolving():
    resolved = compute.resolve(Params())
    assert resolved.train.device in ("cpu", "cuda")
    assert resolved.train.precision in ("bf16", "float32")
    assert resolved.train.threads == resolved.evaluate.threads == compute.cores()
    assert compute.resolve(resolved) == resolved


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000", 64), ("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1)],
)
def test_a_container_has_the_cores_of_its_quota(tmp_path, monkeypatch, text, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    (tmp_path / "cpu.max").write_text(f"{text}\n")
    assert compute.cores(tmp_path / "cpu.max") == cores


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


def test_memory_that_a_step_frees_is_there_for_the_next_one():
    """Pages given back and taken again cost a seventh of a training's time (measured)."""
    code = """
import resource
import torch
from ganpipe.compute import settle

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

settle(1)
for _ in range(3):  # the pages of eight tensors of 8 MiB
    [torch.ones(2**21) for _ in range(8)]
before = faults()
for _ in range(20):
    [torch.ones(2**21) for _ in range(8)]
print(faults() - before)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    taken_anew = 20 * 8 * 2**23 // resource.getpagesize()
    assert int(told.stdout) < taken_anew / 20
