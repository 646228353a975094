"""What was measured of a version: from its own files, or from a later evaluation of it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.results import EVALUATION, FLOOR, METRICS
from ganpipe.files import read_json
from ganpipe.tracking import check, connect

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

REPORT = "report"
EVALUATION_TAG = "ganpipe.evaluation."
GENERATOR_TAG = "ganpipe.generator_sha256"
ABOUT = ("protocol", "generator_sha256")


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

    Raises GanpipeError when it is of another generator, or its file is damaged.
    """
    sha256 = version.tags.get(GENERATOR_TAG)
    if sha256 is None:  # not registered by ganpipe, so nobody knows what its files are
        return None
    check(uri)
    who = f"model {version.name} version {version.version}"
    own = _read(uri, f"{version.source}/lineage/{REPORT}", sha256, who)
    if protocol is None or (own is not None and own.protocol == protocol):
        return own
    run_id = version.tags.get(f"{EVALUATION_TAG}{digest(protocol)}")
    run = _run(uri, run_id) if run_id else None
    later = _read(uri, f"{run.info.artifact_uri}/{REPORT}", sha256, who) if run else None
    return later if later is not None and later.protocol == protocol else None


def _run(uri: str, run_id: str) -> Run | None:
    from mlflow.exceptions import MlflowException

    try:
        return connect(uri).get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None  # deleted for good


def _read(uri: str, report: str, sha256: str, who: str) -> Evaluation | None:
    from mlflow.artifacts import download_artifacts, list_artifacts

    found = list_artifacts(artifact_uri=report, tracking_uri=uri)
    names = {PurePosixPath(each.path).name for each in found}
    # a pipeline of the user's own may have nothing but metrics.json
    name = next((each for each in (EVALUATION, METRICS) if each in names), None)
    if name is None:
        return None
    again = "`ganpipe evaluate` measures it again"
    with tempfile.TemporaryDirectory(prefix="ganpipe-") as folder:
        file = f"{report}/{name}"
        kept = download_artifacts(artifact_uri=file, dst_path=folder, tracking_uri=uri)
        try:
            told = read_json(kept)
            parsed = (_of_evaluation if name == EVALUATION else _of_metrics)(told, report)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise GanpipeError(
                f"{file} of {who} is damaged ({type(error).__name__}: {error}): {again}"
            ) from error
    if parsed.generator_sha256 != sha256:
        raise GanpipeError(
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
