"""A version's lineage as a tree for a terminal: pixels at the top, aliases at the bottom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ganpipe.data.words import listed, shown, size

if TYPE_CHECKING:
    from rich.tree import Tree

HASH = 12
MOST = 12
PATCHED = "+++ b/"

NO_BREAK = "\u00a0"  # between a number and its unit, which `shown` would spell out


def tree(record: Mapping[str, Any]) -> Tree:
    """The tree of what `record.record` knows."""
    from rich.markup import escape
    from rich.tree import Tree

    top = Tree(f"[bold]{escape(shown(record['model']))} version {record['version']}[/bold]")
    for title, lines in _branches(record).items():
        branch = top.add(f"[bold]{title}[/bold]  {escape(shown(lines[0]))}")
        for line in lines[1:]:
            branch.add(escape(shown(line)))
    return top


def _branches(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """Title to lines, the first of which stands beside the title."""
    return {
        "source": _source(record),
        "manifest": _manifest(record["manifest"]),
        "data set": _data(record["data"]),
        "parameters": _params(record["changed"]),
        "code": _code(record["code"]),
        "environment": _environment(record),
        "start": _start(record["start"]),
        "training run": _run(record["run"]),
        "model": [f"sha256 {record['generator_sha256'][:HASH]}, registered {record['registered']}"],
        "measures": _measures(record),
        "decisions": _decisions(record),
        "aliases": [", ".join(record["aliases"]) or "none"],
    }


def _source(record: Mapping[str, Any]) -> list[str]:
    source = record["source"]
    if not source:
        return ["not known"]
    place = record["params"].get("data.path") or source["source"]
    told = f"{place}: {source['count']:,} files, {size(source['bytes'])}".replace(NO_BREAK, " ")
    return [told, f"fingerprint {source['digest'][:HASH]}"]


def _manifest(manifest: Mapping[str, Any]) -> list[str]:
    if not manifest:
        return ["not known"]
    lines = [f"sha256 {manifest['sha256'][:HASH] or 'not known'}"]
    if "statuses" in manifest:
        lines.append(_counts(manifest["statuses"]))
    if "splits" in manifest:
        lines.append(_counts(manifest["splits"]))
    if manifest.get("class_counts"):
        lines.append(
            f"{len(manifest['class_counts'])} classes: {_counts(manifest['class_counts'])}"
        )
    return lines


def _data(data: Mapping[str, Any]) -> list[str]:
    if not data:
        return ["not known"]
    first = next(iter(data.values()))
    return [
        f"{first['width']} x {first['height']}, {first['channels']} channels",
        *(
            f"{side}: {each['count']:,} images, sha256 {each['sha256'][:HASH]}"
            for side, each in data.items()
        ),
    ]


def _params(changed: Mapping[str, Any]) -> list[str]:
    told = [f"{key}={value}" for key, value in changed.items()]
    return [f"{len(told)} differ from the defaults" if told else "the defaults", *told]


def _code(code: Mapping[str, Any]) -> list[str]:
    if not code["dirty"]:
        return [f"commit {code['commit']}"]
    files = [
        line.removeprefix(PATCHED) for line in code["patch"].splitlines() if line[:6] == PATCHED
    ]
    told = f"uncommitted edits: {listed(files, MOST)}" if files else "the edits are not carried"
    return [f"commit {code['commit']}, edits on {code['base']}", told]


def _environment(record: Mapping[str, Any]) -> list[str]:
    known = dict(record["environment"])
    first = ", ".join(f"{key} {known.pop(key)}" for key in ("python", "torch") if key in known)
    lines = [f"{key} {value}" for key, value in known.items()]
    return [first or "not known", *lines, f"{len(record['requirements'])} pinned packages"]


def _start(start: Mapping[str, str]) -> list[str]:
    return [" = ".join(filter(None, (start["version"], start["checkpoint"]))) or "scratch"]


def _run(run: Mapping[str, Any] | None) -> list[str]:
    if run is None:
        return ["deleted from MLflow"]
    took = "" if run["seconds"] is None else f", {run['seconds']:.0f} s"
    who = " on ".join(filter(None, (run["user"], run["host"])))
    state = "deleted" if run["deleted"] else run["status"].lower()
    return [f"{run['name']}: {state}, {run['started']}{took}", f"MLflow run {run['id']}, by {who}"]


def _measures(record: Mapping[str, Any]) -> list[str]:
    rows = [_measure(row) for row in record["measures"]]
    verdict = record["memorisation"]
    told = verdict if isinstance(verdict, str) else f"{verdict['opening']}"
    return [rows[0] if rows else "none", *rows[1:], f"memorisation: {told}"]


def _measure(row: Mapping[str, Any]) -> str:
    within = "" if row.get("low") is None else f" ({row['low']:.4g} to {row['high']:.4g})"
    floor = "" if row.get("floor") is None else f", floor {row['floor']:.4g}"
    return f"{row['name']} {row['value']:.4g}{within}{floor}"


def _decisions(record: Mapping[str, Any]) -> list[str]:
    told = [
        f"{each['at'][:19]} version {each['version']} {each['action']} by {each['by']}: "
        f"{each['reason']}"
        for each in record["decisions"]
    ]
    return told or ["none"]


def _counts(counts: Mapping[str, int]) -> str:
    return listed([f"{name} {count:,}" for name, count in counts.items()], MOST)
