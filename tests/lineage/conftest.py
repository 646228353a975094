"""A repository with two versions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ganpipe import params, tracking, workspace
from ganpipe.params import Params
from tests.lineage.tiny import IGNORED, PIPELINE, WORK, Project, draw, save_generators, write


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Version 1 of committed code; version 2 of edited code, other images, another seed.

    Every object is on the remote too.
    """
    folder = tmp_path_factory.mktemp("lineage")
    repo, images = folder / "a repo", folder / "images"
    repo.mkdir()
    for label, shades in (("cat", (10, 20)), ("dog", (30,))):
        for shade in shades:
            draw(images / label, f"{shade}.png", shade)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GANPIPE_STATE", "MLFLOW_TRACKING_URI", *workspace.GIT_VARIABLES):
            patch.delenv(name, raising=False)
        workspace.git(repo, "init", "--quiet", "--template=")
        workspace.git(repo, "config", "user.name", "A Person")
        workspace.git(repo, "config", "user.email", "person@localhost")
        write(
            repo / ".dvc" / "config",
            f"[core]\n    remote = store\n[cache]\n    dir = ../.ganpipe/cache\n"
            f"['remote \"store\"']\n    url = {folder / 'remote'}\n",
        )
        write(repo / ".dvc" / ".gitignore", "/config.local\n/tmp\n/cache\n")
        write(repo / ".gitignore", "\n".join(IGNORED) + "\n")
        write(repo / "work.py", 'EDITED = ""\n' + WORK)
        write(repo / "note.txt", "a note")
        write(repo / "dvc.yaml", PIPELINE)
        write(repo / "requirements.lock", "numpy==2.0\ntorch==2.9\n")
        params.write(Params(), repo / "params.yaml")
        save_generators(repo / "generators")
        workspace.git(repo, "add", ".")
        workspace.git(repo, "commit", "--quiet", "-m", "start")
        (repo / ".ganpipe" / "mlflow").mkdir(parents=True)
        uri = tracking.tracking_uri(workspace.state_folder(repo))
        made = Project(repo, images, folder / "remote", uri)
        made.run("train.seed=0")
        draw(images / "dog", "40.png", 40)
        (images / "cat" / "10.png").unlink()
        write(repo / "dvc.yaml", PIPELINE.replace("python work.py train", "python work.py  train"))
        write(repo / "requirements.lock", "numpy==2.0\ntorch==2.10\n")
        made.run("train.seed=1")
        yield made
