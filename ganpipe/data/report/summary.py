"""summary.md: the short version, for a run's page in Prefect and for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpipe.data.manifest import STATUSES
from ganpipe.data.report import facts
from ganpipe.data.report.aside import set_aside
from ganpipe.data.words import code_span, percent, plural, shape, table_cell

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from ganpipe.data.dataset import Dataset

CLASSES = 20
EXAMPLES = 10


def markdown(manifest: pd.DataFrame, train: Dataset, test: Dataset) -> str:
    """Counts by status, split and class, sizes, and some files set aside, as Markdown."""
    used = facts.used_files(manifest)
    aside = len(manifest) - len(used)
    facts_in_words = [
        f"**{plural(len(train), 'image')}** to train and **{len(test):,}** to test with",
        shape(train.height, train.width, train.channels),
        *([plural(len(train.classes), "class", "classes")] if train.classes else []),
        f"{plural(aside, 'file')} of {len(manifest):,} set aside ({percent(aside, len(manifest))})",
    ]
    statuses = facts.status_counts(manifest)
    parts = [
        "# Data\n",
        "; ".join(facts_in_words) + ".\n",
        "![random training images](data.png)\n",
        _table(
            ("files", "status", "meaning"),
            ((f"{number:,}", name, STATUSES[name]) for name, number in statuses.items()),
        ),
        _classes(train, test),
        _table(
            ("originals", "smallest", "median", "largest"),
            (
                (each.title, each.smallest, each.median, each.largest)
                for each in facts.histograms(used)
            ),
        ),
        _examples(manifest),
        "Samples, histograms and everything set aside: `data/report/data.html`.\n",
    ]
    return "\n".join(filter(None, parts))


def _classes(train: Dataset, test: Dataset) -> str:
    counts = facts.class_counts(train, test)
    if not counts:
        return ""
    rows = [
        (table_cell(each.name), f"{each.train:,}", f"{each.test:,}") for each in counts[:CLASSES]
    ]
    if rest := counts[CLASSES:]:
        train_sum, test_sum = sum(each.train for each in rest), sum(each.test for each in rest)
        rows.append((f"*{len(rest):,} more*", f"{train_sum:,}", f"{test_sum:,}"))
    return _table(("class", "train", "test"), rows)


def _examples(manifest: pd.DataFrame) -> str:
    groups = set_aside(manifest, EXAMPLES)
    lines = [
        f"- {code_span(file.path)}: {group.status}" + (f" {code_span(file.of)}" if file.of else "")
        for group in groups
        for file in group.files
    ]
    if more := sum(group.more for group in groups):
        lines.append(f"- and {more:,} more")
    return "\n".join(["Set aside:\n", *lines, ""]) if lines else ""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
