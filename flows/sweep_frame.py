"""What all trials of a sweep share: parameters, code and images, which a retry finds again."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from prefect.runtime import flow_run as runtime

from flows.retries import patiently
from ganpipe import checkpoints, sweeping, tracking
from ganpipe import params as parameters
from ganpipe import workspace as workspaces
from ganpipe.compute import resolve
from ganpipe.data.sources import make_source
from ganpipe.files import read_json, write_json
from ganpipe.params import Params
from ganpipe.params.sweep import SweepParams
from ganpipe.retraining import Made, of_checkout
from ganpipe.sweeping import Point, applied
from ganpipe.sweeping.record import FOLDER
from ganpipe.workspace import Pin


@dataclass(frozen=True)
class Frame:
    """What all trials of a sweep share."""

    asked: SweepParams
    base: Params
    made: Made
    pin: Pin
    state: Path
    uri: str

    @property
    def digest(self) -> str:
        """What makes it this very sweep: code, images, parameters, what is tried."""
        asked = self.asked.model_dump(mode="json", exclude={"overrides"})
        told = json.dumps([self.made.digest(self.base.train.start), asked], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()


def frame_of(repo: Path, asked: SweepParams) -> Frame:
    """The frame of this flow run: that of its first attempt, or one of now.

    Raises GanpipeError for everything that can be refused before any work.
    """
    state = workspaces.state_folder(repo)
    uri = tracking.tracking_uri(state)
    patiently(lambda: tracking.check(uri))
    os.environ[workspaces.STATE_VARIABLE] = str(state)  # where a source may keep what it downloads
    note = state / FOLDER / "begun" / f"{runtime.id}.json"
    if note.is_file():
        kept = read_json(note)
        base = parameters.validate(kept["base"], source=str(note))
        pin, source = Pin(**kept["pin"]), kept["source"]
    else:
        base = patiently(lambda: checkpoints.resolve(_given(repo, asked), repo))
        source = patiently(make_source(base.data.anchored(repo)).fingerprint)
        pin = workspaces.pin(repo)
        note.parent.mkdir(parents=True, exist_ok=True)
        write_json(note, {"base": base.dump(), "pin": asdict(pin), "source": source})
    return Frame(asked, base, of_checkout(repo, pin.commit, base, source), pin, state, uri)


def _given(repo: Path, asked: SweepParams) -> Params:
    """All other parameters. Raises GanpipeError where what a grid tries does not go together."""
    given = parameters.override(
        parameters.load(repo / parameters.PARAMS_FILE), list(asked.overrides)
    )
    before: list[tuple[Point, float | None]] = []
    while asked.trials == 0 and len(before) < asked.count:
        tried = sweeping.point(asked, before)
        resolve(applied(given, tried))
        before.append((tried, None))
    return given
