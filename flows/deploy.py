"""Puts what infra/ describes on a Prefect server: deployments, the lock, automations."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ganpipe import params
from ganpipe.errors import GanpipeError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

DEPLOYMENTS = "infra/prefect.yaml"
AUTOMATIONS = "infra/automations.yaml"


def deploy(repo: Path, work_pool: str, env: Mapping[str, str]) -> None:
    """Make the work pool and the lock where they are missing; create or update all the rest.

    `env` names the server (PREFECT_API_URL) and the checkout that its worker runs
    (GANPIPE_REPOSITORY). Raises GanpipeError with Prefect's own message.
    """
    values = params.load(repo / params.PARAMS_FILE)
    pool = ("work-pool", "create", work_pool, "--type", "process")
    _prefect(repo, env, *pool, tolerate="already exists")
    file = ("--prefect-file", DEPLOYMENTS)
    _prefect(repo, env, "--no-prompt", "deploy", "--all", *file)
    from prefect.client.orchestration import get_client

    from flows.locks import make_limit

    make_limit()
    with get_client(sync_client=True) as client:
        _fill(client, repo, values)
        automate(client, repo / AUTOMATIONS)


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


def _promotion(values: params.Params) -> dict[str, Any]:
    # with register.approval=never whoever starts the flow is the person
    approval = "auto" if values.registration.approval == "auto" else "person"
    return {"model": values.registration.model, "approval": approval}


FORMS: dict[str, Callable[[params.Params], dict[str, Any]]] = {
    "train": params.Params.dump,
    "promote": _promotion,
}


def _fill(client: SyncPrefectClient, repo: Path, values: params.Params) -> None:
    """Show params.yaml in the forms; prefect.yaml cannot read another file.

    Only in those that it names: others on the server may have a flow of the same name.
    """
    from prefect.client.schemas.actions import DeploymentUpdate

    named = yaml.safe_load((repo / DEPLOYMENTS).read_text(encoding="utf-8"))["deployments"]
    for each in named:
        flow = each["entrypoint"].rpartition(".")[2]
        if flow not in FORMS:
            continue
        deployment = client.read_deployment_by_name(f"{flow}/{each['name']}")
        filled = DeploymentUpdate(parameters=FORMS[flow](values))
        client.update_deployment(deployment.id, filled)


def automate(client: SyncPrefectClient, file: Path) -> None:
    """Create the automations of a file, or update those that have their names.

    One that was switched off on the server stays off.
    """
    from prefect.events.schemas.automations import AutomationCore

    for described in yaml.safe_load(file.read_text(encoding="utf-8"))["automations"]:
        for action in described["actions"]:
            if name := action.pop("deployment", None):
                action["deployment_id"] = str(client.read_deployment_by_name(name).id)
        wanted = AutomationCore.model_validate(described)
        known = client.read_automations_by_name(wanted.name)
        if not known:
            client.create_automation(wanted)
            continue
        wanted.enabled = known[0].enabled
        client.update_automation(known[0].id, wanted)
