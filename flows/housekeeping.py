"""The flow `housekeeping`: what is old and not needed goes, here and on the Prefect server."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import httpx
from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run as runtime
from prefect.states import Completed

from flows.diagnosis import failed_flow
from flows.promote import open_registry
from flows.retention import Retained, retain
from flows.retries import patiently
from flows.signature import typed
from ganpipe import collection
from ganpipe.collection.collect import IN_USE
from ganpipe.collection.items import DAYS, Item, amount, duration, total
from ganpipe.collection.told import summary
from ganpipe.data.words import plural, shown
from ganpipe.errors import GanpipeError
from ganpipe.params.housekeeping import HousekeepingParams
from ganpipe.registry.place import Place

NAMED = 10


def run_name() -> str:
    """`housekeeping`, or `housekeeping, only to look`."""
    asked = dict(runtime.parameters.get("housekeeping") or {})
    return "housekeeping" + ", only to look" * bool(asked.get("dry_run"))


@flow(name="housekeeping", flow_run_name=run_name)
@typed
def housekeeping(
    housekeeping: HousekeepingParams = HousekeepingParams(),  # noqa: B008 - frozen
) -> Any:
    """Delete what is old and no longer needed, as `ganpipe gc` does, and old flow runs of Prefect.

    Champions, candidates and versions tagged `keep` stay, with every byte that they are made of.
    """
    kept = Retained()
    problem: GanpipeError | None = None
    gone: list[Item] = []
    try:
        there = patiently(lambda: open_registry(""))
        plan, refused = clean(there, housekeeping, gone)
    except GanpipeError as error:  # Prefect's database must not grow for that
        plan, refused, problem = None, "", error
    if housekeeping.prefect_days:
        before = datetime.now(UTC) - timedelta(days=housekeeping.prefect_days)
        try:
            retain(before, kept, dry_run=housekeeping.dry_run)
        except GanpipeError as error:
            problem = problem or error
    told = headline(gone, kept, refused, dry_run=housekeeping.dry_run)
    get_run_logger().info(told)
    _show([*rows(plan.items if plan else gone, gone), *_of_prefect(kept)], told)
    return Completed(message=told) if problem is None else failed_flow(problem)


def clean(there: Place, asked: HousekeepingParams, gone: list[Item]) -> tuple[collection.Plan, str]:
    """Plan and collect; adds what went (or would go) to `gone`.

    Returns the plan and why workspaces and DVC's cache were left alone, empty where they were
    not: while a run is under way the rest can go. Raises GanpipeError as `collection.collect`.
    """
    kinds = frozenset(asked.only or collection.KINDS)
    rules = collection.Rules(asked.older_than_days * DAYS, asked.keep_last, kinds)
    plan = patiently(lambda: collection.plan(there.repo, there.uri, rules))
    refused = plan.refused
    if refused:
        rules = collection.Rules(rules.older_than, rules.keep_last, kinds - IN_USE)
        plan = patiently(lambda: collection.plan(there.repo, there.uri, rules))
    if asked.dry_run:
        gone += plan.going
    elif plan.going or plan.pins:
        patiently(lambda: _collect(there, plan, rules, gone))
    return plan, refused


def _collect(
    there: Place, plan: collection.Plan, rules: collection.Rules, gone: list[Item]
) -> None:
    collection.collect(there.repo, there.uri, plan, rules, lock=there.lock(), done=gone.append)


def headline(gone: list[Item], kept: Retained, refused: str, *, dry_run: bool) -> str:
    """What went, in one line."""
    told = f"{'would delete' if dry_run else 'deleted'} {summary(gone)}"
    told += f"; of Prefect {plural(kept.runs, 'flow run')}, {plural(kept.artifacts, 'artifact')}"
    return told + (
        f"; no workspace, no notes and nothing of DVC's cache: {refused}" if refused else ""
    )


def rows(items: Iterable[Item], gone: list[Item]) -> list[dict[str, str]]:
    """A line for all things of a kind that went, or that stay for the same reason."""
    went = {item.key for item in gone}

    def verdict(item: Item) -> tuple[str, bool, str]:
        return item.kind, item.key not in went, item.why

    lines = []
    for (kind, stays, why), group in groupby(sorted(items, key=verdict), verdict):
        found = list(group)
        names = [shown(item.name, 40) for item in found[:NAMED]] if kind != "cache" else []
        lines.append(
            {
                "what": kind,
                "": "stays" if stays else "goes",
                "count": f"{len(found):,}",
                "size": amount(total(found)),
                "oldest": duration(max(item.age for item in found)),
                "why": why,
                "names": ", ".join(names) + (" ..." if len(found) > len(names) > 0 else ""),
            }
        )
    return lines


def _of_prefect(kept: Retained) -> list[dict[str, str]]:
    counts = {"flow runs": kept.runs, "artifacts": kept.artifacts}
    lines = [
        {"what": f"Prefect's {name}", "": "goes", "count": f"{count:,}", "why": "they are old"}
        for name, count in counts.items()
        if count
    ]
    if kept.kept:
        why = "a run below them goes on"
        lines.append(
            {"what": "Prefect's flow runs", "": "stays", "count": f"{kept.kept:,}", "why": why}
        )
    return lines


def _show(lines: list[dict[str, str]], told: str) -> None:
    try:
        create_table_artifact(lines, key="housekeeping", description=told)
    except httpx.HTTPError as error:
        get_run_logger().warning("Prefect does not show what went: %s", error)
