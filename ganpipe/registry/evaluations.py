"""What was measured of a version: from its own files, or from a later evaluation of it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.results import EVALUATION, FLOOR, METRICS
from ganpipe.files import read_json
from ganpipe.packaging import GENERATOR_TAG
from ganpipe.tracking import check, connect

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

REPORT = "report"
EVALUATION_TAG = "ganpipe.evaluation."
ABOUT = ("protocol", "generator_sha256")


class DamagedError(GanpipeError):
    """A report that cannot be read, or is of another generator."""


@dataclass(frozen=True)
class Evaluation:
    """All that was measured of one generator by one protocol."""

    protocol: dict[str, Any]
    generator_sha256: str
    measures: tuple[dict[str, Any], ...]
    """Rows of evaluation.json, the headline first: name, value, better, low, high, floor, ..."""
    memorisation: dict[str, Any] | str
    """The verdict (finding, opening, evidence, ...), or why there is none."""
    report: str
    """URI of the report folder, with samples.png, reals.png and index.html."""

    @property
    def metric(self) -> str:
        """Name of the headline measure."""
        return str(self.protocol["metric"])

    def measure(self, name: str) -> dict[str, Any] | None:
        """The row of a measure by its name, or by that without the network and count."""
        suffix = self.metric.partition("_")[2]
        known = {row["name"]: row for row in self.measures}
        return known.get(name) or known.get(f"{name}_{suffix}")


def digest(protocol: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that name a protocol: of the sha256 of its sorted JSON."""
    return hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()[:16]


def evaluation_of(
    uri: str, version: ModelVersion, protocol: Mapping[str, Any] | None = None
) -> Evaluation | None:
    """The evaluation that a version carries, or the one of it by `protocol`; None without one.

    Where it carries none that can be read, its newest re-evaluation stands in. Raises
    DamagedError when there is none either; asked for one by `protocol`, that is as good as none.
    """
    return _found(uri, version, "" if protocol is None else digest(protocol))


def comparable(
    uri: str, one: ModelVersion, two: ModelVersion
) -> tuple[Evaluation | None, Evaluation | None]:
    """Evaluations of both, by the same protocol where there are such; else what they carry.

    Either may have been measured anew, by the other's protocol or both by a later one. Raises
    DamagedError as `evaluation_of`.
    """
    first, second = evaluation_of(uri, one), evaluation_of(uri, two)
    if first is None or second is None or first.protocol == second.protocol:
        return first, second
    if like_first := evaluation_of(uri, two, first.protocol):
        return first, like_first
    if like_second := evaluation_of(uri, one, second.protocol):
        return like_second, second
    others = {key for key in two.tags if key.startswith(EVALUATION_TAG)}
    for key, _ in _measured(uri, one, EVALUATION_TAG):
        name = key.removeprefix(EVALUATION_TAG)
        if key in others and (new := _found(uri, one, name)) and (other := _found(uri, two, name)):
            return new, other
    return first, second


def _found(uri: str, version: ModelVersion, protocol: str) -> Evaluation | None:
    """As evaluation_of, by a protocol's digest; empty: what the version carries."""
    if GENERATOR_TAG not in version.tags:  # another's, so nobody knows what its files are
        return None
    check(uri)
    problem: DamagedError | None = None
    for report in _reports(uri, version, protocol):
        try:
            found = _read(uri, version, report)
        except DamagedError as error:
            problem = problem or error
            continue
        if found is not None and protocol in ("", digest(found.protocol)):
            return found
    if problem is not None and not protocol:
        raise problem
    return None


def _reports(uri: str, version: ModelVersion, protocol: str) -> Iterator[str]:
    """Report folders of a version, the one to believe first."""
    own = f"{version.source}/lineage/{REPORT}"
    if not protocol:
        yield own
    for _, run in _measured(uri, version, f"{EVALUATION_TAG}{protocol}"):
        yield f"{run.info.artifact_uri}/{REPORT}"
    if protocol:  # what was measured later comes first: its own may be damaged
        yield own


def _measured(uri: str, version: ModelVersion, tag: str) -> list[tuple[str, Run]]:
    """Tags of a version that begin with `tag`, with the runs that measured it, newest first."""
    runs = [(key, _run(uri, run_id)) for key, run_id in version.tags.items() if key.startswith(tag)]
    there = [(key, run) for key, run in runs if run is not None]
    return sorted(there, key=lambda each: -each[1].info.start_time)


def _run(uri: str, run_id: str) -> Run | None:
    from mlflow.exceptions import MlflowException

    try:
        return connect(uri).get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None  # deleted for good


def _read(uri: str, version: ModelVersion, report: str) -> Evaluation | None:
    from mlflow.artifacts import download_artifacts, list_artifacts

    found = list_artifacts(artifact_uri=report, tracking_uri=uri)
    names = {PurePosixPath(each.path).name for each in found}
    # a pipeline of the user's own may have nothing but metrics.json
    name = next((each for each in (EVALUATION, METRICS) if each in names), None)
    if name is None:
        return None
    who, sha256 = f"model {version.name} version {version.version}", version.tags[GENERATOR_TAG]
    again = f"`ganpipe evaluate models:/{version.name}/{version.version}` measures it again"
    with tempfile.TemporaryDirectory(prefix="ganpipe-") as folder:
        file = f"{report}/{name}"
        kept = download_artifacts(artifact_uri=file, dst_path=folder, tracking_uri=uri)
        try:
            told = read_json(kept)
            parsed = (_of_evaluation if name == EVALUATION else _of_metrics)(told, report)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(
                f"{file} of {who} is damaged ({type(error).__name__}: {error}): {again}"
            ) from error
    if parsed.generator_sha256 != sha256:
        raise DamagedError(
            f"{file} of {who} measured another generator ({parsed.generator_sha256[:12]}, "
            f"not {sha256[:12]}): {again}"
        )
    return parsed


def _of_evaluation(told: dict[str, Any], report: str) -> Evaluation:
    measures = tuple({**row, "value": float(row["value"])} for row in told["measures"])
    memorisation = told.get("memorisation", "it was not looked for")
    return Evaluation(
        dict(told["protocol"]), str(told["generator_sha256"]), measures, memorisation, report
    )


def _of_metrics(told: dict[str, Any], report: str) -> Evaluation:
    numbers = {
        key: float(value)
        for key, value in told.items()
        if key not in ABOUT and not key.startswith(FLOOR)
    }
    metric = str(told["protocol"]["metric"])
    names = sorted(numbers, key=lambda name: name != metric)
    measures = tuple(
        {
            "name": name,
            "value": numbers[name],
            "better": "lower" if name == metric else "neither",
            "low": None,
            "high": None,
            "floor": told.get(f"{FLOOR}{name}"),
        }
        for name in names
    )
    why = f"its report has {METRICS} alone, without a verdict on memorisation"
    return Evaluation(dict(told["protocol"]), str(told["generator_sha256"]), measures, why, report)
