"""The schedules of a deployment on a Prefect server, brought to what prefect.yaml says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flows.edits import Edit, merge

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.responses import DeploymentResponse


def planned(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """Its schedules by their slugs."""
    return {
        each["slug"]: {"cron": each["cron"], "timezone": each["timezone"], "active": each["active"]}
        for each in deployment.get("schedules", ())
    }


def schedule(
    client: SyncPrefectClient,
    there: DeploymentResponse,
    wanted: Mapping[str, Any],
    applied: Mapping[str, Any],
    replace: bool,
) -> Iterator[Edit]:
    """Bring the schedules of a deployment to what they should be; yields what was edited there."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    # those without a slug were made by hand, on the server
    known = {each.slug: each for each in there.schedules if each.slug}
    now = {
        slug: {
            # an interval in place of a cron is an edit, too
            "cron": getattr(each.schedule, "cron", str(each.schedule)),
            "timezone": getattr(each.schedule, "timezone", None),
            "active": each.active,
        }
        for slug, each in known.items()
    }
    merged, edits = merge(wanted, now, applied, replace)
    for slug in [*merged, *(slug for slug in now if slug not in merged)]:
        plan = merged.get(slug)
        if plan == now.get(slug):
            continue
        if plan is None:
            client.delete_deployment_schedule(there.id, known[slug].id)
            continue
        if slug in known and plan["cron"] == now[slug]["cron"] and not _is_cron(known[slug]):
            # what somebody made an interval stays one
            client.update_deployment_schedule(there.id, known[slug].id, plan["active"])
            continue
        cron = CronSchedule(cron=plan["cron"], timezone=plan["timezone"])
        if slug in known:
            client.update_deployment_schedule(there.id, known[slug].id, plan["active"], cron)
        else:
            made = DeploymentScheduleCreate(schedule=cron, active=plan["active"], slug=slug)
            client.create_deployment_schedules(there.id, [made])
    yield from edits


def _is_cron(schedule: DeploymentSchedule) -> bool:
    return hasattr(schedule.schedule, "cron")


def paused(schedules: Mapping[str, Any]) -> str:
    """Which of the planned ones are switched off, as the end of a line; empty where none is."""
    off = [slug for slug, plan in schedules.items() if not plan["active"]]
    return f", its schedule {', '.join(off)} switched off" if off else ""
