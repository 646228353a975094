"""One retraining of a model at a time, on whichever machine: a Prefect limit with one slot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run as runtime

from flows.lease import ask, leased, make_for_one
from flows.limits import LEASE_SECONDS, SECONDS_UNTIL_WRITTEN, holders
from ganpipe.errors import GanpipeError

LIMIT = "ganpipe-retrain"
BANNED = str.maketrans("/%&<>", "-----")  # in names that Prefect takes
SECONDS_UNTIL_FREED = 60.0  # after a lease: Prefect looks for dead ones every 15 s
AT_WORK = [StateType.RUNNING, StateType.CANCELLING]


class BusyError(Exception):
    """Another run retrains the same model."""


def name_of(model: str) -> str:
    """What the names of a model's retrainings begin with."""
    return f"retrain {model}"


@contextmanager
def alone(model: str, lease: float = LEASE_SECONDS, begun: bool = False) -> Iterator[None]:
    """Hold the one slot of a model's limit, which is made where it is missing.

    Raises BusyError when another run is at work, though it lost the slot while Prefect was away;
    a holder that was killed is waited for until its lease ends. A run that has `begun` a training
    waits for its turn instead, and ends with GanpipeError where none comes. Raises GanpipeError
    when Prefect stays away.
    """
    name = f"{LIMIT}:{model}".translate(BANNED)
    what = f"the limit {name}, which lets in one retraining of {model} at a time,"
    at_work = 0.0  # when somebody was last seen there

    def busy(told: str) -> Exception:
        if begun:
            return GanpipeError(f"{told}: retry this run when that one has ended")
        return BusyError(told)

    def waits(waited: float) -> None:
        nonlocal at_work
        if other := ask(what, lambda client: _other(client, name)):
            if not begun:
                raise busy(f"another retraining of {model} is under way: {other}")
            at_work = waited
        if waited - at_work > lease + SECONDS_UNTIL_FREED:
            raise busy(f"another retraining of {model} holds Prefect's limit {name}")

    ask(what, lambda client: make_for_one(client, name))
    with leased(name, 1, lease, waits):
        deadline = time.monotonic() + (SECONDS_UNTIL_WRITTEN if begun else 0.0)
        while other := ask(what, lambda client: _other(client, name)):
            if time.monotonic() >= deadline:  # that it gave the slot back may not be written yet
                raise busy(f"another retraining of {model} is under way: {other}")
            time.sleep(1.0)
        yield


def _other(client: SyncPrefectClient, limit: str) -> str:
    """The name of another run at work that took the limit's slot; empty: none."""
    there = client.read_global_concurrency_limit_by_name(limit)
    for each in holders(client, there):
        state = each.run.state
        if str(each.run.id) != runtime.id and state is not None and state.type in AT_WORK:
            return each.run.name
    return ""
