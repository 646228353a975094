"""A run from images to a registered generator: stages, records, registration, report."""

from __future__ import annotations

import time
from typing import Any

from prefect.states import Completed

from flows.closing import close
from flows.diagnosis import tell_recovered
from flows.registering import register_model
from flows.retries import patiently
from flows.stage import failed
from flows.summary import gate, show_report, summarise
from flows.under_way import UnderWay, log_report, run_stages, under_way
from ganpipe import registry
from ganpipe import workspace as workspaces
from ganpipe.collection import using_cache
from ganpipe.errors import GanpipeError
from ganpipe.params import Params
from ganpipe.workspace import Pin


def pipeline(params: Params, pin: Pin | None = None, found: dict[str, Any] | None = None) -> Any:
    """Run to a Completed state whose result is a Summary; call it in a flow's main thread.

    `pin` and `found`: the code and the fingerprint of images that it shall be of, if not those of
    now. A flow run that is tried again goes on where it was. Where it fails of what the user can
    mend, the state says so and the diagnosis is on the run's page.
    """
    began = time.monotonic()
    try:
        # until it is registered, no lock file that `ganpipe gc` knows names its bytes
        with using_cache(workspaces.state_folder(workspaces.repository())):
            with under_way(params, pin, found) as way:
                results = run_stages(way)
                way.page.tell("record", "runs")
                told = patiently(lambda: log_report(way.run))
                way.page.tell("record", "in MLflow")
                registration = _register(way)
            summary = summarise(way.run, registration, results, time.monotonic() - began)
            show_report(way.run, way.page, summary, told + gate(registration))
    except GanpipeError as problem:
        return failed(problem)
    tell_recovered()
    return Completed(message=summary.headline, data=summary)


def _register(way: UnderWay) -> registry.Registration:
    run, page = way.run, way.page
    page.tell("register", "runs")
    registration: registry.Registration = register_model(run, return_state=True).result()
    page.tell_version(run.version_link(registration.model, registration.version))
    close(run.mlflow_uri, run.mlflow_run, "FINISHED")
    page.tell("register", f"version {registration.version} is {registration.alias}")
    return registration
