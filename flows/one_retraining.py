"""One retraining of a model at a time, on whichever machine: a Prefect limit with one slot."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.concurrency.asyncio import (
    AcquireConcurrencySlotTimeoutError,
    ConcurrencySlotAcquisitionError,
)
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.runtime import flow_run as runtime

from flows.slots import LEASE_SECONDS
from ganpipe.errors import GanpipeError

LIMIT = "ganpipe-retrain"
BANNED = str.maketrans("/%&<>", "-----")  # in names that Prefect takes
ATTEMPT_SECONDS = 5.0
AT_WORK = [StateType.RUNNING, StateType.CANCELLING]


class BusyError(Exception):
    """Another run retrains the same model."""


def name_of(model: str) -> str:
    """What the names of a model's retrainings begin with."""
    return f"retrain {model}"


@contextmanager
def alone(model: str, lease: float = LEASE_SECONDS) -> Iterator[None]:
    """Hold the one slot of a model's limit, which is made where it is missing.

    Raises BusyError when another run holds it and is at work; a holder that was killed is waited
    for until its lease ends. Raises GanpipeError when Prefect does not answer.
    """
    name = f"{LIMIT}:{model}".translate(BANNED)
    try:
        _make(name)
        holding = _acquired(name, model, lease)
    except (ConcurrencySlotAcquisitionError, httpx.HTTPError) as error:
        raise GanpipeError(
            f"Prefect's limit {name}, which lets in one retraining of {model} at a time, cannot "
            f"be taken: {error}"
        ) from error
    try:
        yield
    finally:
        try:
            holding.__exit__(*sys.exc_info())
        except httpx.HTTPError as error:
            # what was trained under it must not be lost for that
            get_run_logger().warning(
                "Prefect did not take the slot of %s back (%s): it is free within %g s",
                name,
                error,
                lease,
            )


def _make(name: str) -> None:
    with get_client(sync_client=True) as client:
        try:
            limit = client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            try:
                made = GlobalConcurrencyLimitCreate(name=name, limit=1)
                client.create_global_concurrency_limit(made)
            except (ObjectAlreadyExists, httpx.HTTPStatusError):
                # fine if another run was faster
                client.read_global_concurrency_limit_by_name(name)
            return
        if not limit.active or limit.limit != 1:
            one = GlobalConcurrencyLimitUpdate(limit=1, active=True)
            client.update_global_concurrency_limit(name, one)


def _acquired(name: str, model: str, lease: float) -> AbstractContextManager[None]:
    # Prefect looks for dead leases every 15 s
    deadline = time.monotonic() + lease + 60
    while True:
        holding = concurrency(
            name,
            timeout_seconds=ATTEMPT_SECONDS,
            lease_duration=lease,
            strict=True,
            # hours of training must not end because Prefect was away for longer than the lease
            raise_on_lease_renewal_failure=False,
        )
        try:
            holding.__enter__()
        except AcquireConcurrencySlotTimeoutError:
            other = _other(model)
            if other or time.monotonic() > deadline:
                held = f": {other}" if other else f", which holds Prefect's limit {name}"
                raise BusyError(f"another retraining of {model} is under way{held}") from None
        else:
            return holding


def _other(model: str) -> str:
    """The name of a run at work on the same model that began before this one; empty: none."""
    with get_client(sync_client=True) as client:
        own = client.read_flow_run(UUID(str(runtime.id)))
        found = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["retrain"])),
            flow_run_filter=FlowRunFilter(
                name=FlowRunFilterName(like_=f"{name_of(model)} from "),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=AT_WORK)),
            ),
        )
    for run in found:
        # of two that wait for a dead holder, one must not give way to the other
        if run.id != own.id and (run.start_time, run.id) < (own.start_time, own.id):
            return run.name
    return ""
