"""A finished workspace becomes a model version, and champion if the gate says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe import packaging
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.results import METRICS, read_results
from ganpipe.files import sha256
from ganpipe.params import Params, RegisterParams
from ganpipe.registry import audit, moves
from ganpipe.registry.audit import Action, Move
from ganpipe.registry.by_hand import ahead, settle
from ganpipe.registry.gate import Decision, Result
from ganpipe.registry.headline import to_tags
from ganpipe.registry.judge import Verify, compared, verified
from ganpipe.registry.moves import OnMove, nobody
from ganpipe.registry.promotion import refuse
from ganpipe.registry.versions import CANDIDATE, CHAMPION, aliases, existing
from ganpipe.tracking import check, connect, description, identity_tags
from ganpipe.training.start import SCRATCH

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

GATE = "gate"
NOT_REPLACED = "it was not replaced before"


@dataclass(frozen=True)
class Registration:
    """A generator in the registry."""

    model: str
    version: str
    alias: str
    """champion or candidate, whichever this version now is."""
    decision: Decision
    reused: bool
    """The version existed already: same generator, same metrics.json, same dvc.lock."""
    move: Move | None = None
    """What was decided; None where it is champion already, or was decided so before."""


def register(
    uri: str,
    run_id: str,
    workspace: Path,
    params: Params,
    identity: dict[str, Any],
    lock: Callable[[], AbstractContextManager[Any]],
    verify: Verify | None = None,
    on_move: OnMove = nobody,
) -> Registration:
    """Make a finished workspace's generator a model version, and champion if the gate says so.

    The same generator with the same metrics.json and dvc.lock is registered once. What `verify`
    misses keeps it from becoming champion. The lock is free while `verify` is at work. `on_move`
    is told of a promotion, and of moves by hand that were noticed first.
    Raises GanpipeError for an unreachable server, missing files, or a report that measured
    another generator.
    """
    weights, metrics_file, lock_file, _ = packaging.required(
        workspace,
        f"model/{packaging.WEIGHTS}",
        f"report/{METRICS}",
        "dvc.lock",
        f"model/{packaging.DESCRIPTION}",
    )
    metrics = read_results(metrics_file.parent)
    fingerprint = {
        packaging.GENERATOR_TAG: sha256(weights),
        "ganpipe.metrics_sha256": sha256(metrics_file),
        "ganpipe.dvc_lock_sha256": sha256(lock_file),
    }
    if metrics["generator_sha256"] != fingerprint[packaging.GENERATOR_TAG]:
        raise GanpipeError(
            f"{metrics_file} measured another generator than {weights}: run `dvc repro` again"
        )
    check(uri)
    client = connect(uri)
    chosen = params.registration
    name = chosen.model
    with moves.outages(uri):
        ahead(client, name, verify)
        with lock():
            settle(client, uri, name, chosen.gate, chosen.margin, verify, on_move)
            version = _find(client, name, fingerprint)
            reused = version is not None
            there = aliases(client, name)
            if version is None:
                tags = identity_tags(identity) | fingerprint | to_tags(metrics)
                tags |= _start_tags(client, lock_file, identity)
                if CHAMPION in there:
                    tags["ganpipe.parent_champion"] = there[CHAMPION]
                version = packaging.create_version(
                    client, run_id, workspace, name, tags, description(run_id, metrics)
                )
            if version not in (there.get(CHAMPION), there.get(CANDIDATE)):
                client.set_registered_model_alias(name, CANDIDATE, version)
            client.set_tag(run_id, "ganpipe.model_version", f"models:/{name}/{version}")
        if there.get(CHAMPION) != version:
            ahead(client, name, verify, version)
        with lock():
            settle(client, uri, name, chosen.gate, chosen.margin, verify, on_move)
            decision, move = _decide(client, uri, name, version, chosen, verify, on_move)
            alias = CHAMPION if aliases(client, name).get(CHAMPION) == version else CANDIDATE
    return Registration(name, version, alias, decision, reused, move)


def _decide(
    client: MlflowClient,
    uri: str,
    name: str,
    number: str,
    params: RegisterParams,
    verify: Verify | None,
    on_move: OnMove,
) -> tuple[Decision, Move | None]:
    champion = aliases(client, name).get(CHAMPION, "")
    if champion == number:
        return Decision(True, "it is the champion already"), None
    version = client.get_model_version(name, number)
    rival = existing(client, name, champion) if champion else None
    decision = compared(uri, version, rival, params.gate, params.margin)
    if replaced := _replaced(version):
        decision = decision.beside(replaced)
    if verify is not None:
        decision = decision.beside(verified(verify, version))
    auto = decision.passed and params.approval == "auto"
    action: Action = "promoted" if auto else "waiting" if decision.passed else "refused"
    move = Move(action, name, number, champion, GATE, audit.now(), decision.reason, decision)
    if auto:
        return decision, moves.move(client, move, on_move)
    last = audit.latest(client, name, number)
    # as it is written down: there a number that is not finite equals itself
    if last is not None and audit.to_json(replace(move, at=last.at)) == audit.to_json(last):
        return decision, None  # a cached run says the same again
    return decision, refuse(client, move)


def _replaced(version: ModelVersion) -> Result | None:
    """Why one that was champion stays away: a cached run would undo somebody's rollback."""
    by = version.tags.get(moves.REPLACED)
    if by is None:
        return None
    told = f"it was champion until version {by} replaced it: promote it by hand"
    return Result(NOT_REPLACED, False, told, {})


def _start_tags(client: MlflowClient, lock: Path, identity: dict[str, Any]) -> dict[str, str]:
    """The address of a generator's own checkpoint, and the version whose checkpoint it began as.

    Found by content, so it is known whatever name the run was given.
    """
    from ganpipe import lineage

    tags = {}
    if own := lineage.checkpoint(lock.read_text(encoding="utf-8")):
        tags["ganpipe.checkpoint"] = own
    if (start := str(identity.get("start", SCRATCH))) != SCRATCH:
        where = f"tags.`ganpipe.checkpoint` = '{start}'"
        found = client.search_model_versions(where, max_results=1, order_by=["creation_timestamp"])
        for version in found:
            tags["ganpipe.start_version"] = f"models:/{version.name}/{version.version}"
    return tags


def _find(client: MlflowClient, name: str, fingerprint: dict[str, str]) -> str | None:
    where = [f"name = '{name}'"] + [f"tags.`{key}` = '{fingerprint[key]}'" for key in fingerprint]
    found = client.search_model_versions(" AND ".join(where), order_by=["version_number DESC"])
    return next((str(each.version) for each in found if each.status == "READY"), None)
