"""A checkout whose pipeline has run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ganpipe import params, workspace
from ganpipe.params import Params
from tests.collection.world import PIPELINE, World, write


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("collection")
    repo = folder / "repo"
    repo.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GANPIPE_STATE", "MLFLOW_TRACKING_URI", *workspace.GIT_VARIABLES):
            patch.delenv(name, raising=False)
        workspace.git(repo, "init", "--quiet", "--template=", "--initial-branch=main")
        workspace.git(repo, "config", "user.name", "A Person")
        workspace.git(repo, "config", "user.email", "person@localhost")
        write(
            repo / ".dvc" / "config",
            "[core]\n    analytics = false\n"
            "[cache]\n    dir = ../.ganpipe/cache\n    type = hardlink,copy\n",
        )
        write(repo / ".dvc" / ".gitignore", "/config.local\n/tmp\n/cache\n")
        write(repo / ".gitignore", "/.ganpipe/\n/data/\n/model/\n/checkpoints/\n")
        write(repo / "dvc.yaml", PIPELINE)
        write(repo / "code.txt", "code")
        write(repo / "more.sh", "#!/bin/sh\n")
        (repo / "more.sh").chmod(0o755)
        params.write(Params(), repo / "params.yaml")
        workspace.git(repo, "add", ".")
        workspace.git(repo, "commit", "--quiet", "-m", "start")
        made = World(repo, folder / "backup")
        made.prepare()
        yield made


@pytest.fixture
def world(prepared: World) -> World:
    """The same with nothing left of other tests but entries in MLflow, none of which is kept."""
    prepared.empty()
    client = prepared.client
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    experiment = client.get_experiment_by_name("ganpipe")
    for run in client.search_runs([experiment.experiment_id]) if experiment else ():
        client.delete_run(run.info.run_id)
    for files in client.search_logged_models([experiment.experiment_id]) if experiment else ():
        client.delete_logged_model(files.model_id)
    return prepared
