"""Old flow runs on the Prefect server, which keeps all of them unless it is told not to."""

from __future__ import annotations

from collections.abc import Iterator
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
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from ganpipe.errors import GanpipeError

TAG = "ganpipe"  # of all its deployments, and so of their runs
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
    try:
        with get_client(sync_client=True) as client:
            # all are listed before the first goes, else pages would move
            for run in list(_old(client, before)):
                _remove(client, run, done, dry_run=dry_run)
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise GanpipeError(
            f"not all old flow runs went from Prefect ({error}): mend it, and the next "
            "housekeeping goes on with what is left"
        ) from error


def _old(client: SyncPrefectClient, before: datetime) -> Iterator[UUID]:
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FINAL,
        end_time=FlowRunFilterEndTime(before_=before),
    )
    yield from (run.id for run in _pages(client, wanted))


def _pages(client: SyncPrefectClient, wanted: FlowRunFilter) -> Iterator[FlowRun]:
    first = 0
    while page := client.read_flow_runs(
        flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=PAGE, offset=first
    ):
        yield from page
        first += len(page)


def _remove(client: SyncPrefectClient, run: UUID, done: Retained, *, dry_run: bool) -> None:
    """Delete a run and all below it, or leave all of it while one of them goes on."""
    family = [run]
    for number in family:  # grows as children are found
        below = FlowRunFilterParentFlowRunId(any_=[number])
        for child in _pages(client, FlowRunFilter(parent_flow_run_id=below)):
            if child.state is None or not child.state.is_final():
                done.kept += 1
                return
            family.append(child.id)
    artifacts = _artifacts(client, family)
    if dry_run:
        done.runs += len(family)
        done.artifacts += len(artifacts)
        return
    for artifact in artifacts:  # first: no one finds them when their run is gone
        with suppress(ObjectNotFound):  # another housekeeping was quicker
            client.delete_artifact(artifact)
    done.artifacts += len(artifacts)
    for first in range(0, len(family), BATCH):
        # the server looks at the state again: one that is retried now stays
        wanted = FlowRunFilter(
            id=FlowRunFilterId(any_=family[first : first + BATCH]), state=FINAL
        ).model_dump(mode="json", exclude_unset=True)
        answer = client.request("POST", BULK, json={"flow_runs": wanted, "limit": BATCH})
        answer.raise_for_status()
        done.runs += len(answer.json()["deleted"])


def _artifacts(client: SyncPrefectClient, runs: list[UUID]) -> list[UUID]:
    found: list[UUID] = []
    for run in runs:
        of = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        first = 0
        while page := client.read_artifacts(artifact_filter=of, limit=PAGE, offset=first):
            found += [each.id for each in page]
            first += len(page)
    return found
