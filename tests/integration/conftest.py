"""Checkouts of the code as it stands, each with a home, a cache and a state folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ganpipe import params
from ganpipe.data.sources import refresh

SMALL = [
    "train.kimg=2",
    "train.tick_kimg=0.5",
    "train.snapshot_kimg=1",
    "train.snapshot_samples=32",
    "train.state_kimg=0.5",
    "evaluate.samples=64",
    "model.width=8",
    "train.threads=1",
    "evaluate.threads=1",
    "register.gate=[better]",  # of 64 images, nothing is said that a floor could judge
]
OUTPUTS = [
    "data/start",
    "data/raw",
    "data/train",
    "data/test",
    "data/report",
    "data/reference",
    "model",
    "checkpoints",
    "report",
]


class Checkout:
    """A folder with the code, committed to a git repository of its own."""

    def __init__(self, folder: Path, assignments: list[str] | None = None) -> None:
        self.folder = folder
        self.home = folder.parent / f"{folder.name}-home"
        self.home.mkdir(parents=True, exist_ok=True)
        if assignments is not None:
            chosen = params.override(params.Params(), [*SMALL, *assignments])
            params.write(chosen, folder / "params.yaml")

    @staticmethod
    def of(source: Path, folder: Path, assignments: list[str] | None = None) -> Checkout:
        """Copy what git knows or would take of `source`, edits included, and commit it."""
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(listing, cwd=source, capture_output=True, check=True).stdout
        for name in filter(None, listed.decode().split("\0")):
            if (source / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, folder / name)
        # whatever was adopted here, these tests start from the digits and no lock
        (folder / "dvc.lock").unlink(missing_ok=True)
        made = Checkout(folder, assignments or [])
        refresh(params.DataParams(), folder)
        made.git("init", "-q", "-b", "main")
        made.commit("code")
        return made

    def clone(self, folder: Path) -> Checkout:
        """A git clone, with nothing that git ignores."""
        subprocess.run(["git", "clone", "-q", str(self.folder), str(folder)], check=True)
        return Checkout(folder)

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        command = ["git", *identity, *arguments]
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def environment(self, **extra: str) -> dict[str, str]:
        """The caller's environment without the variables that would reach its own servers."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "MLFLOW_", "GANPIPE_", "DVC_", "XDG_"))
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        site = str(self.folder / ".ganpipe" / "site")
        return {**kept, "PATH": path, "HOME": str(self.home), "DVC_SITE_CACHE_DIR": site, **extra}

    def call(
        self, *command: str, check: bool = True, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def outputs(self, folder: Path | None = None) -> dict[str, bytes]:
        """The bytes of every output of the stages."""
        root = folder or self.folder
        return {
            str(path.relative_to(root)): path.read_bytes()
            for output in OUTPUTS
            for path in sorted((root / output).rglob("*"))
            if path.is_file()
        }


@pytest.fixture(scope="session")
def checkout_of_this_code(repository_root: Path) -> Any:
    """`checkout_of_this_code(folder, assignments)` makes a Checkout with small parameters."""

    def make(folder: Path, assignments: list[str] | None = None) -> Checkout:
        return Checkout.of(repository_root, folder, assignments)

    return make
