"""Puts what infra/ describes on a Prefect server: deployments, limits, automations.

What somebody edited on the server stays, unless it is asked for: ganpipe keeps fingerprints of
what it last wrote to a deployment in a Prefect variable, so an edit is told from an old default.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from flows.automations import automate
from flows.edits import MISSING, Edit, merge, prints
from flows.schedules import paused, planned, schedule
from flows.tag import TAG
from ganpipe import params
from ganpipe.errors import GanpipeError
from ganpipe.params.generate import GenerateParams
from ganpipe.registry import CHAMPION

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

DEPLOYMENTS = "infra/prefect.yaml"
AUTOMATIONS = "infra/automations.yaml"
FOLDER = "prefect.deployments.steps.set_working_directory"
WORKER_PYTHON = "GANPIPE_PYTHON"  # which Python the worker of this machine runs flows with


def deploy(repo: Path, work_pool: str, env: Mapping[str, str], replace: bool = False) -> list[str]:
    """Make what is missing on the server and update the rest; a line for each thing to know of.

    Defaults and schedules that were edited on the server stay and are named, or, with `replace`,
    are named and replaced. `env` names the server (PREFECT_API_URL) and the checkout that its
    worker runs (GANPIPE_REPOSITORY). Killed at any point, it is completed by the next one.
    Raises GanpipeError with Prefect's own message, and where a deployment with one of the names
    is not ganpipe's.
    """
    values = params.load(repo / params.PARAMS_FILE)
    env = {WORKER_PYTHON: sys.executable, **env}
    from prefect.client.orchestration import get_client

    from flows.limits import free_leaks, size_slots
    from flows.locks import make_limit

    make_limit()
    with get_client(sync_client=True) as client:
        _make_pool(client, repo, env, work_pool)
        return [
            *size_slots(client, replace),
            *_deployments(client, repo, env, values, replace),
            *automate(client, repo / AUTOMATIONS),
            *free_leaks(client),
        ]


def _make_pool(
    client: SyncPrefectClient, repo: Path, env: Mapping[str, str], work_pool: str
) -> None:
    from prefect.exceptions import ObjectNotFound

    try:
        client.read_work_pool(work_pool)
    except ObjectNotFound:
        try:
            _prefect(repo, env, "work-pool", "create", work_pool, "--type", "process")
        except GanpipeError as error:
            if "already exists" not in str(error):  # a worker that starts makes it, too
                raise


def _prefect(repo: Path, env: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=repo,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    output = f"{done.stdout}\n{done.stderr}".strip()
    if done.returncode != 0:
        raise GanpipeError(f"`prefect {' '.join(arguments)}` failed in {repo}:\n{output}")


def _promotion(values: params.Params) -> dict[str, Any]:
    # with register.approval=never whoever starts the flow is the person
    approval = "auto" if values.registration.approval == "auto" else "person"
    return {"model": values.registration.model, "approval": approval}


def _generation(values: params.Params) -> dict[str, Any]:
    asked = GenerateParams(model=f"models:/{values.registration.model}@{CHAMPION}")
    return {"generate": asked.model_dump(mode="json")}


# what their forms show of params.yaml; prefect.yaml cannot read another file
FORMS: dict[str, Callable[[params.Params], dict[str, Any]]] = {
    "train": params.Params.dump,
    "promote": _promotion,
    "generate": _generation,
}


def _deployments(
    client: SyncPrefectClient,
    repo: Path,
    env: Mapping[str, str],
    values: params.Params,
    replace: bool,
) -> Iterator[str]:
    """Only those that prefect.yaml names: others may have deployments of the same flows."""
    described = yaml.safe_load((repo / DEPLOYMENTS).read_text(encoding="utf-8"))
    written: dict[str, dict[str, Any]] = {}
    lines = []
    named = {
        f"{each['entrypoint'].rpartition('.')[2]}/{each['name']}": each
        for each in described["deployments"]
    }
    found = {name: _own(client, name) for name in named}
    for name, each in named.items():
        flow, there = name.partition("/")[0], found[name]
        form = FORMS[flow](values) if flow in FORMS else {}
        wanted = {"parameters": form | each.get("parameters", {}), "schedules": planned(each)}
        written[name] = wanted
        if there is None:
            each["parameters"] = wanted["parameters"]
            lines.append(f"made {name}{paused(wanted['schedules'])}")
            continue
        applied = _applied(client, name)
        now = dict(there.parameters)
        each["parameters"], edits = merge(wanted["parameters"], now, applied["parameters"], replace)
        lines += _told(name, edits, replace)
        # Prefect would take away the schedules that were added on the server
        each.pop("schedules", None)
        edits = list(schedule(client, there, wanted["schedules"], applied["schedules"], replace))
        lines += _told(f"{name}: the schedule", edits, replace)
    with TemporaryDirectory(prefix="ganpipe-deploy-") as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
        try:
            _prefect(repo, env, "--no-prompt", "deploy", "--all", "--prefect-file", str(file))
        except GanpipeError as error:
            # one of them may be of a parameter that is no more
            kept = [line for line in lines if line.startswith("kept")]
            raise GanpipeError("\n".join([str(error), *kept])) from None
    for name, wanted in written.items():
        _remember(client, name, {key: prints(values) for key, values in wanted.items()})
    yield from dict.fromkeys(
        line for name, there in found.items() if there for line in _moved(there, read(client, name))
    )
    yield from lines


def _own(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    """Ganpipe's deployment of a name, None where there is none; somebody else's is refused."""
    there = read(client, name)
    if there is not None and TAG not in there.tags:
        raise GanpipeError(
            f"the Prefect server at {client.api_url} has a deployment {name} of somebody else: "
            "rename or delete it, deploy to another server or, if it is ganpipe's, give it the tag "
            f"{TAG}"
        )
    return there


def _moved(before: DeploymentResponse, now: DeploymentResponse | None) -> Iterator[str]:
    """Runs of another checkout or another Python from now on: both must lie on each worker."""
    was, told = (_place(each) for each in (before, now or before))
    if was != told:
        yield f"replaced where runs work: {told} (before: {was})"


def _place(deployment: DeploymentResponse) -> str:
    steps = deployment.pull_steps or ()
    folders = [step[FOLDER]["directory"] for step in steps if FOLDER in step]
    python = str(deployment.job_variables.get("command")).partition(" -I ")[0].strip("'")
    return f"in {' '.join(folders)} with {python}"


def read(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    """The deployment `flow/name`; None where the server has it not."""
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _told(name: str, edits: list[Edit], replace: bool) -> Iterator[str]:
    for edit in edits:
        here, there = ("nothing" if each is MISSING else each for each in (edit.here, edit.there))
        if replace:
            yield f"replaced {name} {edit.key}: {here} (edited on the server: {there})"
        else:
            yield (
                f"kept {name} {edit.key}: {there} (edited on the server; here: {here}; "
                "`ganpipe deploy --replace` replaces it)"
            )


def _variable(name: str) -> str:
    return "ganpipe_deployed_" + name.replace("/", "_").replace("-", "_")


def _applied(client: SyncPrefectClient, name: str) -> dict[str, Any]:
    """What ganpipe last wrote to a deployment."""
    found = client.read_variable_by_name(_variable(name))
    value = found.value if found is not None and isinstance(found.value, dict) else {}
    return {key: dict(value.get(key, {})) for key in ("parameters", "schedules")}


def _remember(client: SyncPrefectClient, name: str, wanted: dict[str, Any]) -> None:
    from prefect.client.schemas.actions import VariableCreate, VariableUpdate

    known = client.read_variable_by_name(_variable(name))
    if known is None:
        about = {"name": _variable(name), "value": wanted, "tags": ["ganpipe"]}
        client.create_variable(VariableCreate.model_validate(about))
    elif known.value != wanted:
        client.update_variable(VariableUpdate(name=_variable(name), value=wanted))
