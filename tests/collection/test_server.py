"""Collection through an MLflow server that keeps the files: they are gone from its disk."""

from __future__ import annotations

from pathlib import Path

from ganpipe.registry import CHAMPION
from tests.collection.world import World
from tests.conftest import MlflowServer


def test_a_servers_files_go_and_those_of_the_champion_stay(
    world: World, mlflow_server: MlflowServer, free_port: int, tmp_path: Path
) -> None:
    own = world.uri
    with mlflow_server(tmp_path, free_port) as address:
        world.uri = address
        try:
            runs = [world.run(which) for which in (0, 1)]
            for which, run_id in enumerate(runs):
                world.version(run_id, which)
            world.alias(CHAMPION, "2")
            folder = tmp_path / "mlflow" / "artifacts"
            assert len(list(folder.rglob("lineage/dvc.lock"))) == 2
            assert len(list(folder.rglob("report/index.html"))) == 2
            sizes = {item.size for item in world.plan().items if item.kind == "runs"}
            assert sizes == {None}, "only the server knows"
            world.gc()
            assert world.numbers() == [2]
            assert world.lost() == []
            (kept,) = folder.rglob("lineage/dvc.lock")
            assert world.client.get_model_version("ganpipe", "2").source.split("/")[-2] in str(kept)
            (report,) = folder.rglob("report/index.html")
            assert runs[1] in report.parts
            assert world.plan().going == []
        finally:
            world.uri = own
