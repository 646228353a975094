"""A scheduled `retrain` with nothing to do: from its scheduled time to `Skipped`."""

from __future__ import annotations

from statistics import median

from tests.benchmarks.figures import Figure, Place
from tests.benchmarks.operated.servers import FlowRun, Operated, operated, small

DEPLOYMENT = "retrain/nightly"
AHEAD = 21.0  # seconds; a worker that looks ahead of the time sees it, as it would each night
SECONDS = 10.0  # promised, beside the worker's poll


def measure(place: Place) -> list[Figure]:
    """A champion is made first; then each run is written ahead, as Prefect's scheduler does."""
    with operated(place.folder, small()) as there:
        first = there.ended(there.start(DEPLOYMENT, {}))
        if "champion" not in first.message:
            raise RuntimeError(f"no champion was made: {first.message}")
        firings = [_firing(there) for _ in range(place.size(10, 2))]
    polls = [max(0.0, each.pending - each.scheduled) for each in firings]
    wholes = [each.end - each.scheduled for each in firings]
    nets = [whole - poll for whole, poll in zip(wholes, polls, strict=True)]
    starts = [each.running - each.pending for each in firings]
    flows = [each.end - each.running for each in firings]
    return [
        Figure(f"scheduled time to Skipped, {len(firings)} firings, median", median(wholes), "s"),
        Figure("the same, the slowest", max(wholes), "s", samples=wholes),
        Figure("of it the worker's poll, the longest", max(polls), "s", samples=polls),
        Figure("without the poll, median", median(nets), "s", samples=nets),
        Figure("without the poll, the slowest", max(nets), "s", None, SECONDS),
        Figure("taken by the worker to Running", median(starts), "s", samples=starts),
        Figure("Running to Skipped", median(flows), "s", samples=flows),
    ]


def _firing(there: Operated) -> FlowRun:
    run = there.ended(there.start(DEPLOYMENT, {}, AHEAD))
    there.wait_until_idle()
    if run.state != "Skipped" or not run.message.startswith("nothing new"):
        raise RuntimeError(f"{run.name} ended as {run.state}: {run.message}")
    return run
