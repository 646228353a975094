"""Old flow runs on the Prefect server, which keeps all of them unless it is told not to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterParentTaskRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from flows.tag import TAG
from ganpipe.errors import GanpipeError

BATCH = 20
BULK: Any = "/flow_runs/bulk_delete"  # a route that the client's types do not know
PAGE = 100
FINAL = FlowRunFilterState(
    type=FlowRunFilterStateType(
        any_=[StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED]
    )
)


@dataclass
class Retained:
    """What went from the server, or would."""

    runs: int = 0
    artifacts: int = 0
    kept: int = 0
    """Old runs that stay because a run below them has not ended."""


def retain(before: datetime, done: Retained, *, dry_run: bool = False) -> None:
    """Delete ganpipe's flow runs that ended before a time, with sub-runs, artifacts and logs.

    In small steps, each for itself: the server is never busy for long, and killed at any moment
    the next call goes on. Events go by the server's own settings. What went is added to `done`.
    Raises GanpipeError when Prefect fails.
    """
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FINAL,
        end_time=FlowRunFilterEndTime(before_=before),
        parent_task_run_id=FlowRunFilterParentTaskRunId(is_null_=True),
    )
    try:
        with get_client(sync_client=True) as client:
            # all are listed before the first goes, else pages would move
            old = [run.id for run in _runs(client, wanted)]
            for first in range(0, len(old), BATCH):
                _remove(client, old[first : first + BATCH], done, dry_run=dry_run)
    except httpx.HTTPError as error:
        raise GanpipeError(
            f"not all old flow runs went from Prefect ({error}): mend it, and the next "
            "housekeeping goes on with what is left"
        ) from error


def _remove(
    client: SyncPrefectClient, runs: Sequence[UUID], done: Retained, *, dry_run: bool
) -> None:
    """Delete runs and all below them, or leave all of one while something below it goes on."""
    family = _family(client, runs)
    if not family:
        done.kept += len(runs) == 1
        for run in runs if len(runs) > 1 else ():
            _remove(client, [run], done, dry_run=dry_run)
        return
    of = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=family))
    artifacts = [each.id for each in _pages(client.read_artifacts, artifact_filter=of)]
    done.artifacts += len(artifacts)
    if dry_run:
        done.runs += len(family)
        return
    for artifact in artifacts:  # first: no one finds them when their run is gone
        with suppress(ObjectNotFound):  # another housekeeping was quicker
            client.delete_artifact(artifact)
    family.reverse()  # likewise what lies below a run
    for first in range(0, len(family), BATCH):
        # the server looks at the state again: one that is retried now stays
        wanted = FlowRunFilter(
            id=FlowRunFilterId(any_=family[first : first + BATCH]), state=FINAL
        ).model_dump(mode="json", exclude_unset=True)
        answer = client.request("POST", BULK, json={"flow_runs": wanted, "limit": BATCH})
        answer.raise_for_status()
        done.runs += len(answer.json()["deleted"])


def _family(client: SyncPrefectClient, runs: Sequence[UUID]) -> list[UUID]:
    """Runs and all below them, these last; empty while one of those goes on."""
    family, level = list(runs), list(runs)
    while level:
        below = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=level))
        children = _runs(client, below)
        if any(child.state is None or not child.state.is_final() for child in children):
            return []
        level = [child.id for child in children]
        family += level
    return family


def _runs(client: SyncPrefectClient, wanted: FlowRunFilter) -> list[FlowRun]:
    return list(_pages(client.read_flow_runs, flow_run_filter=wanted, sort=FlowRunSort.ID_DESC))


def _pages(read: Callable[..., Sequence[Any]], **wanted: Any) -> Iterator[Any]:
    first = 0
    while page := read(**wanted, limit=PAGE, offset=first):
        yield from page
        first += len(page)
