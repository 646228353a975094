"""What a person sees before a promotion: both versions side by side, and what the gate says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from flows.artifacts import MAX_PICTURE_CHARACTERS, inline_picture
from ganpipe import registry
from ganpipe.champion import beside
from ganpipe.data.words import code_span
from ganpipe.evaluation.report import Memorisation, Report
from ganpipe.evaluation.report.markdown import markdown
from ganpipe.registry import Decision, Evaluation

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PICTURE = "samples.png"
WIDE, NARROW = 480, 160  # pixels of each picture: on a run's page, and in Prefect's form
PASSED = {True: "pass", False: "**fail**"}


def comparison(
    uri: str,
    version: ModelVersion,
    champion: ModelVersion | None,
    decision: Decision,
    missing: Sequence[str],
    reason: str = "",
    width: int = WIDE,
) -> str:
    """Markdown: samples of both, why it is asked, each rule, what verify misses, all numbers.

    Each picture is at most `width` pixels wide: wider ones hide the other in a narrow form, and
    what stands above them hides a part of both.
    """
    ours = registry.evaluation_of(uri, version)
    theirs = champion and ours and registry.evaluation_of(uri, champion, ours.protocol)
    # its samples are worth seeing whatever they were measured by
    seen = theirs or (champion and registry.evaluation_of(uri, champion))
    shown = {f"version {version.version}": ours}
    if champion is not None:
        shown[f"champion, version {champion.version}"] = seen or None
    why = [f"Asked because: {reason}\n"] * bool(reason.strip())
    parts = [_pictures(uri, shown, width), *why, _gate(decision), _verify(missing)]
    if ours is not None:
        parts.append(_numbers(version, ours, champion, theirs or None))
    return "\n".join(parts)


def _pictures(uri: str, shown: dict[str, Evaluation | None], width: int) -> str:
    """One row of pictures, which together are as large as Prefect's database should take."""
    limit = MAX_PICTURE_CHARACTERS // len(shown)
    cells = [_picture(uri, each, limit, width) for each in shown.values()]
    rows = (list(shown), ["---"] * len(cells), cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _picture(uri: str, evaluation: Evaluation | None, limit: int, width: int) -> str:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from PIL import Image

    if evaluation is None:
        return "it carries no report"
    place = f"{evaluation.report}/{PICTURE}"
    with TemporaryDirectory(prefix="ganpipe-") as folder:
        try:
            found = download_artifacts(artifact_uri=place, dst_path=folder, tracking_uri=uri)
        except (MlflowException, OSError):
            return f"{place} is gone"
        shown = Path(folder) / f"shown-{PICTURE}"
        try:
            with Image.open(found) as picture:
                picture.thumbnail((width, 100 * width), Image.Resampling.LANCZOS)
                picture.save(shown)
        except (OSError, SyntaxError, ValueError) as error:  # as its decoder says so
            return f"{place} is damaged ({error})"
        return f"![samples]({inline_picture(shown, limit)})"


def _gate(decision: Decision) -> str:
    """Each rule and what it found, as a list: a table's last column lies outside narrow pages."""
    verdict = "passes" if decision.passed else "**does not pass**"
    lines = [f"**Gate:** it {verdict}.\n"]
    lines += [
        f"- {code_span(each.rule)} {PASSED[each.passed]}: {line(each.told)}"
        for each in decision.results
    ]
    return "\n".join(lines) + "\n"


def _verify(missing: Sequence[str]) -> str:
    if not missing:
        return "**Verify:** every byte that it was made of can be had again.\n"
    return "**Verify:** missing, so it cannot be promoted:\n\n" + "".join(
        f"- {line(each)}\n" for each in missing
    )


def line(text: str) -> str:
    """Our own words, of which a bar would end a table's cell."""
    return " ".join(text.replace("|", "\N{DIVIDES}").split())


def _numbers(
    version: ModelVersion,
    ours: Evaluation,
    champion: ModelVersion | None,
    theirs: Evaluation | None,
) -> str:
    measures = [
        beside(row, (theirs and theirs.measure(row["name"])) or {}) for row in ours.measures
    ]
    verdict = ours.memorisation
    return markdown(
        Report(
            title=f"Numbers of version {version.version}",
            measures=measures,
            protocol=ours.protocol,
            champion=f"version {champion.version}" if champion and theirs else "",
            warnings=[],
            lineage={},
            memorisation=verdict
            if isinstance(verdict, str)
            else Memorisation(verdict["opening"], verdict["finding"], verdict["evidence"]),
        )
    )
