"""The trials of a sweep as tables, for people and programs."""

from __future__ import annotations

import io
from csv import writer

from ganpipe.data.words import plural, table_cell
from ganpipe.sweeping.points import Point
from ganpipe.sweeping.record import Sweep

LONGEST_PROBLEM = 300


def spelt(tried: Point) -> str:
    """Like `train.lr=0.001, model.width=32`."""
    return ", ".join(f"{key}={_value(value)}" for key, value in tried.items())


def _value(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def markdown(sweep: Sweep, count: int) -> str:
    """All trials, the best first, then the failed ones with their problems."""
    if not sweep.trials:
        return f"# {plural(count, 'training')} to come\n"
    keys = list(sweep.trials[min(sweep.trials)].tried)
    title = f"# {len(sweep.finished)} of {plural(count, 'training')} measured"
    if sweep.failed:
        title += f", {len(sweep.failed)} failed"
    metric = sweep.finished[0].metric if sweep.finished else "distance"
    rows = [["trial", *keys, metric, "run"], ["---"] * (len(keys) + 3)]
    for each in sweep.finished:
        values = [_value(each.tried[key]) for key in keys]
        rows.append([str(each.number), *values, f"{each.value:.4g}", each.run])
    for each in sweep.failed:
        values = [_value(each.tried[key]) for key in keys]
        rows.append([str(each.number), *values, "failed", table_cell(each.problem, 200)])
    return "\n".join([title, "", *(f"| {' | '.join(row)} |" for row in rows), ""])


def csv(sweep: Sweep) -> str:
    """All trials in their order: number, what was tried, distance, problem, runs."""
    out = io.StringIO()
    table = writer(out, lineterminator="\n")
    keys = list(sweep.trials[min(sweep.trials)].tried) if sweep.trials else []
    table.writerow(["trial", *keys, "metric", "value", "problem", "run", "mlflow_run"])
    for number in sorted(sweep.trials):
        each = sweep.trials[number]
        value = "" if each.value is None else repr(each.value)
        problem = each.problem[:LONGEST_PROBLEM]
        tried = [each.tried[key] for key in keys]
        table.writerow([number, *tried, each.metric, value, problem, each.run, each.mlflow_run])
    return out.getvalue()
