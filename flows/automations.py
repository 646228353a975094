"""Brings infra/automations.yaml to a Prefect server, by the names of the automations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ganpipe.errors import GanpipeError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import BlockDocument

NOTIFY = "GANPIPE_NOTIFY"  # the block that notifies, in place of the one that the file names


def automate(client: SyncPrefectClient, file: Path) -> list[str]:
    """Create the automations of a file, or update those that have their names.

    One that was switched off on the server stays off. Where no block is named, those that notify
    are left out, or kept as they are: another shell may know the block. Returns a line for each
    thing made, left out or kept. Raises GanpipeError for a block that does not exist or cannot
    notify.
    """
    from prefect.events.schemas.automations import AutomationCore

    described = yaml.safe_load(file.read_text(encoding="utf-8"))
    block = _block(client, os.environ.get(NOTIFY) or described.get("notify") or "")
    made: list[str] = []
    left_out: list[str] = []
    kept: list[str] = []
    for each in described["automations"]:
        if block is None and any(action["type"] == "notify" for action in each["actions"]):
            there = client.read_automations_by_name(each["name"])
            (kept if there else left_out).append(each["name"])
            continue
        each["actions"] = [_action(client, action, block) for action in each["actions"]]
        wanted = AutomationCore.model_validate(each)
        known = client.read_automations_by_name(wanted.name)
        if known:
            wanted.enabled = known[0].enabled
            client.update_automation(known[0].id, wanted)
            continue
        client.create_automation(wanted)
        made.append(f"made the automation {wanted.name}")
    if left_out:
        made.append(
            f"left out, since no block notifies: {', '.join(left_out)} (make a block in Prefect's "
            f"page and name it in {file.name} or {NOTIFY}, like slack-webhook/team)"
        )
    if kept:
        made.append(
            f"kept as they are, though no block is named here: {', '.join(kept)} (they go on "
            f"notifying: name their block in {file.name} or {NOTIFY}, or switch them off in "
            "Prefect's page)"
        )
    return made


def _block(client: SyncPrefectClient, named: str) -> BlockDocument | None:
    """The block of a `type/name`; None where none is named."""
    from prefect.exceptions import ObjectNotFound

    if not named:
        return None
    kind, _, name = named.partition("/")
    try:
        return client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        raise GanpipeError(
            f"the Prefect server at {client.api_url} has no block {named}, which is to notify: "
            f"make it in Prefect's page, or correct `notify` in infra/automations.yaml or {NOTIFY}"
        ) from None


def _action(
    client: SyncPrefectClient, described: Mapping[str, Any], block: BlockDocument | None
) -> dict[str, Any]:
    """An action as Prefect knows it: ids in place of names, `notify` by what the block is."""
    action = dict(described)
    if name := action.pop("deployment", None):
        action["deployment_id"] = str(client.read_deployment_by_name(name).id)
    if action["type"] != "notify" or block is None:
        return action
    subject, body = action["subject"], action["body"]
    slug = block.block_type.slug if block.block_type is not None else ""
    able = block.block_schema.capabilities if block.block_schema is not None else []
    action = {"block_document_id": str(block.id)}
    if "notify" in able:
        return action | {"type": "send-notification", "subject": subject, "body": body}
    if slug == "webhook":
        return action | {"type": "call-webhook", "payload": _as_json(subject, body)}
    raise GanpipeError(
        f"the block {slug}/{block.name} cannot notify: name one of a type that can, like "
        f"slack-webhook, custom-webhook, webhook or sendgrid-email, in {NOTIFY}"
    )


def _as_json(subject: str, body: str) -> str:
    """A template of JSON, whatever quotes and newlines the two templates come to."""
    return (
        f"{{% set subject %}}{subject}{{% endset %}}{{% set body %}}{body}{{% endset %}}"
        '{"subject": {{ subject | tojson }}, "body": {{ body | tojson }}}'
    )
