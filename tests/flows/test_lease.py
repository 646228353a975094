"""A run that waits for a slot goes on waiting where Prefect's server is started again."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.lease import Lease, leased, make_for_one
from tests.flows.test_server_restart import server

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT = "gpu:a machine"


@flow
def waits() -> str:
    with leased(LIMIT, 1, 60.0):
        return "let in"


def test_a_run_that_waits_for_a_slot_outlives_the_server(
    tmp_path: Path,
    free_port: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = f"http://127.0.0.1:{free_port}/api"
    ended = threading.Event()
    with (
        # Prefect's own retries alone outlive some restarts
        temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
        caplog.at_level(logging.INFO),
        server(tmp_path, free_port) as first,
    ):
        with get_client(sync_client=True) as client:
            make_for_one(client, LIMIT)
            assert Lease(LIMIT, 1, 600.0).take(client)
            deployment = client.create_deployment(client.create_flow(waits), "on-demand")
            run = client.create_flow_run_from_deployment(deployment)

        def restart() -> None:
            while f"waits for a slot of {LIMIT}" not in caplog.text and not ended.is_set():
                time.sleep(0.2)
            first.kill()
            first.wait()
            while "does not answer" not in caplog.text and not ended.is_set():
                time.sleep(0.2)
            with server(tmp_path, free_port), temporary_settings({PREFECT_API_URL: url}):
                with get_client(sync_client=True) as again:
                    again.release_concurrency_slots([LIMIT], 1, 1.0)
                ended.wait(120)

        thread = threading.Thread(target=restart)
        thread.start()
        try:
            assert run_flow(waits, flow_run=run) == "let in"
        finally:
            ended.set()
            thread.join()
    assert "does not answer" in caplog.text
    assert "tries again in 5 s" in caplog.text
