"""What happens to the images, as Prefect events that automations answer with a retraining."""

from __future__ import annotations

from prefect.events import Event, emit_event
from prefect.runtime import flow_run

from flows.registry_events import MODEL

DATA_CHANGED = "ganpipe.data.changed"
SEEN_BY = "ganpipe.data.seen-by"
DRIFT_DETECTED = "ganpipe.drift.detected"


def emit_data_changed(model: str, source: str, digest: str, before: str) -> Event | None:
    """Tell that the source of a model's images holds others now: `ganpipe.data.changed`.

    Of the resource `ganpipe.data.<source>`; `digest` and `before` are those of the source's
    fingerprint now and at the champion (empty: there was none).
    """
    resource = {
        "prefect.resource.id": f"ganpipe.data.{source}",
        "prefect.resource.name": source,
        # what a retraining sees it answers itself: the automation leaves those out
        SEEN_BY: flow_run.flow_name or "nobody",
    }
    return emit_event(
        DATA_CHANGED,
        resource,
        related=[_made_of_it(model)],
        payload={"model": model, "source": source, "digest": digest, "before": before},
    )


def emit_drift(model: str, measure: str, value: float, threshold: float) -> Event | None:
    """Tell that images drifted from what the champion learnt: `ganpipe.drift.detected`.

    Of the resource `ganpipe.model.<name>`; `measure` names what went beyond its threshold.
    """
    return emit_event(
        DRIFT_DETECTED,
        {"prefect.resource.id": f"{MODEL}.{model}", "prefect.resource.name": model},
        payload={"model": model, "measure": measure, "value": value, "threshold": threshold},
    )


def _made_of_it(model: str) -> dict[str, str]:
    return {
        "prefect.resource.id": f"{MODEL}.{model}",
        "prefect.resource.name": model,
        "prefect.resource.role": "model",
    }
