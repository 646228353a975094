"""Every decision on a version, for good: tags of the version, and lines of promotions.jsonl.

The tags are the truth. The file, an artifact of one MLflow run for each model, is made anew from
them and from its own earlier lines, so it also keeps those of versions that were deleted.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ganpipe.errors import GanpipeError
from ganpipe.registry.gate import Decision, Result
from ganpipe.registry.on_page import show
from ganpipe.registry.versions import versions
from ganpipe.tracking import EXPERIMENT, check, connect, first_line, text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

DECISION_TAG = "ganpipe.decision."
PROMOTIONS = "promotions.jsonl"
PROMOTIONS_OF = "ganpipe.promotions_of"
UNKNOWN = "unknown"
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
Key = tuple[str, str]  # of a decision: its tag, which sorts by time, and the version
Action = Literal[
    "promoted", "refused", "waiting", "rolled-back", "by-hand", "restored", "unreadable"
]


@dataclass(frozen=True)
class Move:
    """What was decided of a version, and what became of the aliases."""

    action: Action
    """waiting: the gate lets it pass, and a person has the word. restored: an alias that was moved
    or deleted by hand is back where it was. unreadable: what was written of this decision is
    damaged, and `reason` names it."""
    model: str
    version: str
    """The one decided on; after rolled-back, the one that is champion again."""
    previous: str
    """The champion until then, or still; empty without one."""
    by: str
    at: str
    """UTC, ISO 8601."""
    reason: str
    decision: Decision
    """By the gate and verify; promoted although it did not pass: somebody forced it."""
    request: str = ""
    """Who asked, such as a flow run's id: asking again is answered by this, not done twice."""
    warning: str = ""
    """What could not be done beside the move itself."""


def now() -> str:
    return datetime.now(UTC).strftime(TIME)


def to_json(move: Move) -> str:
    """One line of JSON; numbers that are not finite, which JSON has not, become null."""
    values = asdict(move)
    del values["warning"]
    for result in values["decision"]["results"]:
        numbers = result["numbers"].items()
        result["numbers"] = {k: v if v is None or math.isfinite(v) else None for k, v in numbers}
    return json.dumps(values, allow_nan=False, ensure_ascii=False)


def from_json(line: str, where: str) -> Move:
    """What `to_json` wrote. Raises GanpipeError that names `where` for anything else."""
    try:
        values = json.loads(line)
        decision = values["decision"]
        results = tuple(Result(**each) for each in decision["results"])
        return Move(**{**values, "decision": Decision(**{**decision, "results": results})})
    except (ValueError, KeyError, TypeError) as error:
        raise GanpipeError(
            f"{where} is damaged ({type(error).__name__}: {error}): {line[:200]!r}; delete it"
        ) from error


def write(client: MlflowClient, move: Move) -> None:
    """Write a decision into the version's tags: all of it, and what people look for first."""
    headline = {"gate": text(move.decision.passed), "gate_reason": move.decision.reason}
    if move.action == "restored":  # what was decided of it before stands
        headline = {}
    elif move.action not in ("refused", "waiting"):
        headline |= {"promoted_by": move.by, "promoted_at": move.at}
        headline |= {"promoted_from": move.previous, "promoted_reason": move.reason}
    for key, value in headline.items():
        client.set_model_version_tag(move.model, move.version, f"ganpipe.{key}", value)
    client.set_model_version_tag(move.model, move.version, _tag(move.at), to_json(move))


def published(client: MlflowClient, move: Move) -> Move:
    """Bring promotions.jsonl and the page of the version's run up to date.

    The decision stands by its tags: where that does not succeed the move comes back with a
    warning, and the next one brings what is missing with its own.
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        _publish(client, move.model)
        version = client.get_model_version(move.model, move.version)
        if version.run_id:
            show(client, version.run_id, _moves(version))
    except (MlflowException, RequestException, OSError, GanpipeError) as error:
        why = first_line(error)
        return replace(
            move,
            warning=f"{PROMOTIONS} or its page was not written ({why}): the next decision does",
        )
    return move


def history(uri: str, model: str) -> list[Move]:
    """All decisions on a model's versions, oldest first; `unreadable` where one is damaged."""
    from ganpipe.registry.moves import outages

    check(uri)
    client = connect(uri)
    with outages(uri):
        run_id = _file_run(client, model)
        kept = _lines_of_file(client, run_id) if run_id else {}
        tags = _lines_of_tags(versions(client, model))
    # where a tag is damaged the file may have the decision whole
    return [
        _read(model, key, *(lines[key] for lines in (tags, kept) if key in lines))
        for key in sorted(tags.keys() | kept.keys())
    ]


def _moves(version: ModelVersion) -> list[Move]:
    """The decisions on a version that its tags know, oldest first."""
    lines = _lines_of_tags([version])
    return [_read(version.name, key, lines[key]) for key in sorted(lines)]


def _read(model: str, key: Key, *lines: str) -> Move:
    """The decision that the first whole one of these lines tells, else that it is unreadable."""
    tag, version = key
    problem = ""
    for line in lines:
        try:
            return from_json(line, f"the decision {tag} of version {version}")
        except GanpipeError as error:
            problem = problem or str(error)
    try:
        at = datetime.strptime(tag, _tag(TIME)).replace(tzinfo=UTC).strftime(TIME)
    except ValueError:
        at = ""
    decision = Decision(False, "it cannot be read")
    return Move("unreadable", model, version, "", UNKNOWN, at, problem, decision)


def _tag(at: str) -> str:
    return DECISION_TAG + at.replace("-", "").replace(":", "")


def latest(client: MlflowClient, model: str, version: str) -> Move | None:
    """The last decision on a version that its tags know."""
    moves = _moves(client.get_model_version(model, version))
    return moves[-1] if moves else None


def answered(client: MlflowClient, model: str, request: str) -> Move | None:
    """The decision that this very request has led to already; None where there is none."""
    for (key, version), line in _lines_of_tags(versions(client, model)).items():
        if request and request in line:
            move = _read(model, (key, version), line)
            if move.request == request:
                return move
    return None


def _publish(client: MlflowClient, model: str) -> None:
    run_id = _file_run(client, model) or _new_file_run(client, model)
    kept = _lines_of_file(client, run_id)
    tags = _lines_of_tags(versions(client, model))
    lines = dict(kept)
    for key, line in tags.items():
        if _read(model, key, line).action != "unreadable":
            lines[key] = line
    if lines != kept:
        ordered = [lines[key] for key in sorted(lines)]
        client.log_text(run_id, "".join(f"{line}\n" for line in ordered), PROMOTIONS)


def _lines_of_tags(found: Sequence[ModelVersion]) -> dict[Key, str]:
    """What is written of each decision, by its tag and version: in the order of time."""
    return {
        (key, str(version.version)): value
        for version in found
        for key, value in version.tags.items()
        if key.startswith(DECISION_TAG)
    }


def _lines_of_file(client: MlflowClient, run_id: str) -> dict[Key, str]:
    """The same; a torn line is left out, the tags have it whole."""
    if PROMOTIONS not in {file.path for file in client.list_artifacts(run_id)}:
        return {}
    with tempfile.TemporaryDirectory(prefix="ganpipe-") as folder:
        kept = Path(client.download_artifacts(run_id, PROMOTIONS, folder))
        # not splitlines: what people wrote may hold other separators than these
        lines = kept.read_text(encoding="utf-8", errors="replace").split("\n")
    found = {}
    for line in lines:
        try:
            values: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict) and {"at", "version"} <= values.keys():
            found[_tag(str(values["at"])), str(values["version"])] = line
    return found


def _file_run(client: MlflowClient, model: str) -> str | None:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return None
    where = f"tags.`{PROMOTIONS_OF}` = '{model}'"
    order = ["attributes.start_time ASC"]
    found = client.search_runs([experiment.experiment_id], where, max_results=1, order_by=order)
    return str(found[0].info.run_id) if found else None


def _new_file_run(client: MlflowClient, model: str) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        raise MlflowException(f"there is no experiment {EXPERIMENT} to keep it in")
    tags = {
        PROMOTIONS_OF: model,
        "mlflow.note.content": f"Every decision on versions of {model}, one a line: {PROMOTIONS}",
    }
    run = client.create_run(experiment.experiment_id, run_name=f"promotions of {model}", tags=tags)
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)
