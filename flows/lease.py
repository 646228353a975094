"""Leases of the slots of Prefect's limits: waited for, kept, taken anew where they were lost."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from threading import Event, Lock, Thread
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.client.schemas.responses import ConcurrencyLimitWithLeaseResponse
from prefect.events import emit_event
from prefect.exceptions import MissingContextError, ObjectAlreadyExists, ObjectNotFound

from flows.retries import patiently
from ganpipe.errors import GanpipeError

# the names that Prefect's own helper gives them: who holds how many slots is read from them
ACQUIRED, RELEASED = "prefect.concurrency-limit.acquired", "prefect.concurrency-limit.released"
SLOTS = "slots-acquired"
SECONDS_UNTIL_TOLD_AGAIN = 86_400.0  # Prefect keeps events for 7 days, and some hold for longer
SECONDS_BETWEEN_ATTEMPTS = 3.0
SECONDS_BETWEEN_LINES = 600.0
TAKEN, LOST = httpx.codes.LOCKED, httpx.codes.GONE

Answer = TypeVar("Answer")


def ask(what: str, question: Callable[[SyncPrefectClient], Answer]) -> Answer:
    """What the server that keeps `what` answers; in runs of a deployment it is waited for.

    Raises GanpipeError where it stays away.
    """

    def once() -> Answer:
        with get_client(sync_client=True) as client:
            try:
                return question(client)
            except httpx.HTTPError as error:
                raise GanpipeError(
                    f"the Prefect server at {client.api_url}, which keeps {what}, does not "
                    f"answer ({error}): start it, or correct PREFECT_API_URL"
                ) from error

    return patiently(once)


def make_for_one(client: SyncPrefectClient, name: str) -> None:
    """Make a limit that lets one in at a time, or one again; not its slots in use: they stay."""
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


@contextmanager
def leased(
    name: str, slots: int, seconds: float, waits: Callable[[float], None] = lambda waited: None
) -> Iterator[Lease]:
    """Hold so many slots of a limit; a holder that was killed loses them after `seconds`.

    While they are taken, `waits` is told before each further attempt for how many seconds by now;
    what it raises ends the waiting. Raises GanpipeError where Prefect stays away, or has no such
    limit.
    """
    lease = Lease(name, slots, seconds)
    began, told = time.monotonic(), -math.inf
    while not ask(f"the limit {name}", lease.take):
        waited = time.monotonic() - began
        waits(waited)
        if waited - told >= SECONDS_BETWEEN_LINES:
            logger().info("waits for %s: all are taken by other runs", lease)
            told = waited
        time.sleep(SECONDS_BETWEEN_ATTEMPTS)
    stop = Event()
    keeper = Thread(target=copy_context().run, args=(lease.keep, stop), daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        stop.set()
        keeper.join(timeout=5.0)  # a server that hangs must not keep a cancelled run
        lease.give_back()


class Lease:
    """Slots of a limit, with an `id` while they are held; `lost` once others could take them."""

    def __init__(self, name: str, slots: int, seconds: float) -> None:
        self.name, self.slots, self.seconds = name, slots, seconds
        self.lost = False
        self.id: UUID | None = None
        self._limit = ""
        self._told = -math.inf
        self._giving_back = Lock()

    def __str__(self) -> str:
        return f"{'a slot' if self.slots == 1 else f'{self.slots} slots'} of {self.name}"

    def take(self, client: SyncPrefectClient) -> bool:
        """Whether there were so many free; httpx.HTTPError and GanpipeError as `leased`."""
        try:
            answer = client.increment_concurrency_slots_with_lease(
                [self.name], self.slots, "concurrency", self.seconds
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == TAKEN:
                return False
            raise
        granted = ConcurrencyLimitWithLeaseResponse.model_validate(answer.json())
        if not granted.limits:
            raise GanpipeError(f"{self} cannot be had: the Prefect server has no such limit now")
        self.id, self._limit = granted.lease_id, str(granted.limits[0].id)
        self._emit(ACQUIRED)
        return True

    def keep(self, stop: Event) -> None:
        """Renew it until `stop`, and take it anew where Prefect was away for longer than it lasts.

        Prefect's own helper gives up for good after a minute, and others are let in.
        """
        away = False
        while not stop.wait(self.seconds / (60 if away or self.id is None else 4)):
            try:
                with get_client(sync_client=True) as client:
                    self._renew(client, stop)
                away = False
            except (httpx.HTTPError, GanpipeError) as error:
                if not away:
                    logger().warning("%s was not renewed, and is tried again: %s", self, error)
                away = True
            if stop.is_set():
                self.give_back()  # who waited for this thread may have gone on without it

    def _renew(self, client: SyncPrefectClient, stop: Event) -> None:
        if self.id is not None:
            try:
                client.renew_concurrency_lease(self.id, self.seconds)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != LOST:
                    raise
                self.lost, self.id = True, None
                if stop.is_set():
                    return
                logger().warning("%s was lost while Prefect was away: it is taken anew", self)
        if self.id is None:
            if self.take(client):
                logger().info("holds %s again", self)
        elif time.monotonic() - self._told > SECONDS_UNTIL_TOLD_AGAIN:
            self._emit(ACQUIRED)

    def give_back(self) -> None:
        """Free it; where Prefect does not take it, it is free when it ends."""
        with self._giving_back:
            held, self.id = self.id, None
        if held is None:
            return
        try:
            with get_client(sync_client=True) as client:
                client.release_concurrency_slots_with_lease(held)
        except httpx.HTTPError as error:
            # what was done under it must not be lost for that
            told = "Prefect did not take %s back (%s): free within %g s"
            logger().warning(told, self, error, self.seconds)
        else:
            self._emit(RELEASED)

    def _emit(self, event: str) -> None:
        self._told = time.monotonic()
        emit_event(
            event,
            {
                "prefect.resource.id": f"prefect.concurrency-limit.{self._limit}",
                "prefect.resource.name": self.name,
                SLOTS: str(self.slots),
            },
        )


def logger() -> Any:
    """That of the flow run, or of a command."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)
