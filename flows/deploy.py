"""Puts the deployments of infra/prefect.yaml on a Prefect server, filled from params.yaml."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ganpipe import params
from ganpipe.errors import GanpipeError

FLOW = "train"
DEPLOYMENTS = "infra/prefect.yaml"


def deploy(repo: Path, work_pool: str, env: Mapping[str, str]) -> None:
    """Make the work pool where it is missing, and create or update every deployment.

    `env` names the server (PREFECT_API_URL) and the checkout that its worker runs
    (GANPIPE_REPOSITORY). Raises GanpipeError with Prefect's own message.
    """
    values = params.load(repo / params.PARAMS_FILE)
    pool = ("work-pool", "create", work_pool, "--type", "process")
    _prefect(repo, env, *pool, tolerate="already exists")
    file = ("--prefect-file", DEPLOYMENTS)
    _prefect(repo, env, "--no-prompt", "deploy", "--all", *file)
    _fill(repo, values)


def _prefect(repo: Path, env: Mapping[str, str], *arguments: str, tolerate: str = "") -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=repo,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    output = f"{done.stdout}\n{done.stderr}".strip()
    if done.returncode != 0 and not (tolerate and tolerate in output):
        raise GanpipeError(f"`prefect {' '.join(arguments)}` failed in {repo}:\n{output}")


def _fill(repo: Path, values: params.Params) -> None:
    """Show params.yaml in the forms; prefect.yaml cannot read another file.

    Only in those that it names: others on the server may have a flow of the same name.
    """
    import yaml
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    named = yaml.safe_load((repo / DEPLOYMENTS).read_text(encoding="utf-8"))["deployments"]
    with get_client(sync_client=True) as client:
        for each in named:
            deployment = client.read_deployment_by_name(f"{FLOW}/{each['name']}")
            filled = DeploymentUpdate(parameters=values.dump())
            client.update_deployment(deployment.id, filled)
