"""The flow `watch`: have incoming images, or served ones, drifted from what the champion knows?"""

from __future__ import annotations

import time
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.events.filters import EventFilter, EventIDFilter
from prefect.runtime import flow_run as runtime
from prefect.states import Completed

from flows.artifacts import inline_picture
from flows.data_events import emit_data_changed, emit_drift
from flows.diagnosis import failed_flow
from flows.promote import open_registry
from flows.retries import patiently
from flows.signature import typed
from ganpipe import images, registry, tracking
from ganpipe.data.words import plural, table_cell
from ganpipe.errors import GanpipeError
from ganpipe.params.watch import WatchParams

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from ganpipe.drift.finding import Finding, Share, Watched
    from ganpipe.registry.place import Place

DRIFT, NO_DRIFT, SKIPPED = "Drift", "No drift", "Skipped"
PICTURE_CHARACTERS = 60_000  # of all together
SECONDS_UNTIL_WRITTEN = 20.0  # the server writes events down every 5 s
COLUMNS = 8
BAR = 20


def run_name() -> str:
    """What it watches."""
    return named(dict(runtime.parameters.get("watch") or {}))


def named(asked: dict[str, Any]) -> str:
    """Like `watch ganpipe`, or `watch folder incoming`, from what is asked for."""
    # what follows in a URL may be a secret
    place = PurePosixPath(str(asked.get("path", "")).partition("?")[0]).name
    where = [each for each in (asked.get("source"), place) if each]
    return f"watch {' '.join(where) or asked.get('model') or 'incoming images'}"


@flow(name="watch", flow_run_name=run_name)
@typed
def watch(watch: WatchParams = WatchParams()) -> Any:  # noqa: B008 - frozen
    """Hold incoming images and served samples against the champion's real images.

    Beyond the thresholds it tells so as the event `ganpipe.drift.detected`; else, of new images in
    the champion's own source, as `ganpipe.data.changed`.
    """
    try:
        there = patiently(lambda: open_registry(watch.model))
        found = patiently(lambda: _found(there, watch))
    except GanpipeError as problem:
        return failed_flow(problem)
    if found is None:
        told = f"model {there.model} has no champion yet: nothing to compare with"
        return Completed(name=SKIPPED, message=told)
    told = headline(found)
    _show(found, told)
    events = [
        emit_drift(there.model, each.measure, each.value, each.threshold) for each in found.drift
    ]
    if (now := found.others) and not events:  # one retraining is enough
        events.append(emit_data_changed(there.model, now["source"], now["digest"], found.before))
    if arrived([each.id for each in events if each is not None]):
        found.remember()
    else:
        get_run_logger().warning(
            "Prefect has not taken the events of what was found: the next watch tells it again"
        )
    get_run_logger().info(told)
    name = DRIFT if found.drift else NO_DRIFT if found.findings else SKIPPED
    return Completed(name=name, message=told)


def arrived(events: list[UUID]) -> bool:
    """Whether the server has them: they are sent in the background, and may be lost there."""
    wanted = EventFilter(id=EventIDFilter(id=events))
    deadline = time.monotonic() + SECONDS_UNTIL_WRITTEN
    try:
        with get_client(sync_client=True) as client:
            while events and len(client.read_events(wanted, limit=50).events) < len(events):
                if time.monotonic() > deadline:
                    return False
                time.sleep(1.0)
    except httpx.HTTPError:
        return False
    return True


def _found(there: Place, watch: WatchParams) -> Watched | None:
    """What there is to be seen; None without a champion to hold it against."""
    with tracking.named_outages(there.uri):
        champion = _champion(there)
        return None if champion is None else look(there, champion, watch)


def look(there: Place, champion: ModelVersion, watch: WatchParams) -> Watched:
    """What there is to be seen, with the threads that were asked for."""
    from ganpipe.compute import cores, settle
    from ganpipe.drift import look as drift

    settle(watch.threads or cores())
    return drift.look(there.repo, there.uri, champion, watch)


def _champion(there: Place) -> ModelVersion | None:
    client = tracking.connect(there.uri)
    number = registry.aliases(client, there.model).get(registry.CHAMPION)
    return client.get_model_version(there.model, number) if number else None


def headline(found: Watched) -> str:
    """What was found, in one line."""
    if drift := found.drift:
        told = "; ".join(f"{each.measure} {_number(each)}" for each in drift)
        return f"drift from {found.champion}: {told}"
    if not found.findings:
        return "nothing was decided: " + "; ".join(found.left_out.values())
    seen = ", ".join(f"{each.measure} {_number(each)}" for each in found.findings)
    return f"no drift from {found.champion}: {seen}"


def _number(each: Finding) -> str:
    return f"{each.value:.3g} (threshold {each.threshold:.3g}, chance {each.chance:.3g})"


def _show(found: Watched, told: str) -> None:
    """Show it on the run's page in Prefect: it was found without it."""
    try:
        create_markdown_artifact(markdown(found), key="watch", description=told)
    except httpx.HTTPError as error:
        get_run_logger().warning("Prefect does not show what this run found: %s", error)


def markdown(found: Watched) -> str:
    """Pictures, each measure beside its threshold, the shares of classes, what is not known."""
    verdict = "Drift" if found.drift else "No drift" if found.findings else "Nothing decided"
    files = f"{plural(found.listed, 'file')} listed, {found.new:,} not counted before, "
    files += f"{found.looked_at:,} images compared"
    aside = ", ".join(f"{count:,} {why}" for why, count in found.set_aside.items())
    parts = [f"# {verdict}: {found.champion}", files + (f"; set aside: {aside}" if aside else "")]
    # every hour some would fill Prefect's database
    parts.append(_pictures(found) if found.drift else "")
    if found.findings:
        parts.append(_measures(found.findings))
    if found.shares:
        parts.append(_shares(found.shares, by_classifier=found.by_classifier))
    parts += [f"- {name}: {why}" for name, why in found.left_out.items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _pictures(found: Watched) -> str:
    """A strip of each kind, above each other."""
    strips = []
    with TemporaryDirectory(prefix="ganpipe-") as folder:
        for name, pictures in found.pictures.items():
            path = Path(folder) / f"{name}.png"
            images.write_png(path, images.grid(pictures, COLUMNS))
            picture = inline_picture(path, PICTURE_CHARACTERS // len(found.pictures))
            strips.append(f"**{name}**\n\n![{name}]({picture})")
    return "\n\n".join(strips)


def _measures(findings: tuple[Finding, ...]) -> str:
    lines = [
        "| measure | value | 95 % | chance | threshold | | images |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in findings:
        interval = f"{each.low:.3g} ... {each.high:.3g}" if each.low < each.high else ""
        verdict = "**drift**" if each.drifted else "ok"
        filled = bar(each.value / each.threshold if each.threshold else 1.0)
        lines.append(
            f"| {each.measure} | {each.value:.3g} | {interval} | {each.chance:.3g} "
            f"| {each.threshold:.3g} | {filled} {verdict} | {each.images:,} |"
        )
    return "\n".join(lines)


def _shares(shares: tuple[Share, ...], *, by_classifier: bool) -> str:
    how = " (as the reference's classifier sees them)" if by_classifier else ""
    lines = [f"| class{how} | expected | found | |", "| --- | --- | --- | --- |"]
    changed = sorted(shares, key=lambda each: -abs(each.found - each.expected))
    largest = max(max(each.expected, each.found) for each in shares)
    for each in changed[:50]:
        drawn = f"{bar(each.expected / largest)} {bar(each.found / largest)}"
        lines.append(
            f"| {table_cell(each.name)} | {each.expected:.1%} | {each.found:.1%} | {drawn} |"
        )
    if len(changed) > 50:
        lines.append(f"| {len(changed) - 50} more, which changed less | | | |")
    return "\n".join(lines)


def bar(share: float) -> str:
    """A bar of 20 places, full from 1 on."""
    full = round(BAR * min(max(share, 0.0), 1.0))
    return "█" * full + "░" * (BAR - full)
