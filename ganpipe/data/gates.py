"""Whether a source is good enough to learn from: limits that fail a run, with the numbers."""

from __future__ import annotations

from typing import Any

from ganpipe.data.sources.base import HIDDEN
from ganpipe.data.words import listed, shown
from ganpipe.errors import GanpipeError
from ganpipe.params import DataParams

LEAST_A_SIDE = 2  # fewer images have no distribution to compare with


def check_gates(summary: dict[str, Any], params: DataParams) -> None:
    """Raise GanpipeError that lists every limit that the summary of an ingest breaks."""
    problems = [*_amounts(summary, params), *_classes(summary, params)]
    if problems:
        statuses = ", ".join(f"{count} {status}" for status, count in summary["statuses"].items())
        raise GanpipeError("\n".join([*problems, f"({summary['files']} files: {statuses})"]))


def _amounts(summary: dict[str, Any], params: DataParams) -> list[str]:
    count, files = summary["count"], summary["files"]
    problems = []
    if count < params.min_images:
        problems.append(
            f"{count} of {files} files are usable images, fewer than "
            f"data.min_images={params.min_images}: add images, or lower it"
        )
    files -= summary["statuses"].get(HIDDEN, 0)
    share = (files - count) / files
    if share > params.max_set_aside:
        problems.append(
            f"{files - count} of {files} files ({share:.1%}) are set aside, more than "
            f"data.max_set_aside={params.max_set_aside:g}: look at the reasons, or raise it"
        )
    for side, held in summary["splits"].items():
        if held < LEAST_A_SIDE <= count:
            problems.append(
                f"{count} usable images leave {held} for {side}, at least {LEAST_A_SIDE} are "
                f"needed: add images, or change data.test_fraction={params.test_fraction:g}"
            )
    return problems


def _classes(summary: dict[str, Any], params: DataParams) -> list[str]:
    # a class whose images are all set aside is there with 0
    counts: dict[str, int] = summary["label_counts"] if summary["classes"] else {}
    problems = []
    expected = set(params.expected_classes)
    used = {name for name, count in counts.items() if count}
    if expected and expected != used:
        missing, more = sorted(expected - used), sorted(used - expected)
        told = [f"missing: {listed(missing)}"] if missing else []
        told += [f"not expected: {listed(more)}"] if more else []
        told += [summary["unlabelled_because"]] if not counts else []
        problems.append(f"data.expected_classes are not what was found; {'; '.join(told)}")
    if not counts:
        problems += [
            f"data.{name}={getattr(params, name):g} cannot be told without classes: "
            f"{summary['unlabelled_because']}; mend that, or set it to 0"
            for name in ("min_per_class", "max_imbalance")
            if getattr(params, name)
        ]
        return problems
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[least] < params.min_per_class:
        problems.append(
            f"class {shown(least)!r} has {counts[least]} usable images, fewer than "
            f"data.min_per_class={params.min_per_class}: add images, or lower it"
        )
    if params.max_imbalance and counts[most] > params.max_imbalance * counts[least]:
        problems.append(
            f"class {shown(most)!r} has {counts[most]} images and {shown(least)!r} "
            f"{counts[least]}, more than data.max_imbalance={params.max_imbalance:g} times as "
            f"many: balance them, or raise it"
        )
    return problems
