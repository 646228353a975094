"""`ganpipe doctor`: what this installation, machine and checkout have, and what to do about gaps.

Nothing is changed, started or downloaded, and no check may stop the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ganpipe.doctor import checkout, databases, installation, servers, storage
from ganpipe.doctor.check import INSTALL, Check
from ganpipe.errors import GanpipeError
from ganpipe.workspace import repository

__all__ = ["Check", "checks", "report"]


def checks(start: Path) -> list[Check]:
    """Look at everything, for the checkout around `start`. Takes a few seconds; never raises."""
    repo, problem = _repository(start)
    groups: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("versions", lambda: installation.versions(repo)),
        ("device", lambda: installation.device(repo)),
        ("git", lambda: checkout.git(repo, problem)),
        ("params.yaml", lambda: checkout.params(repo)),
        ("DVC", lambda: storage.dvc(repo)),
        ("servers", lambda: servers.servers(repo)),
        ("databases", lambda: databases.databases(repo)),
        ("data", lambda: checkout.data(repo)),
        ("feature weights", lambda: installation.weights(repo)),
    ]
    with ThreadPoolExecutor(len(groups)) as pool:  # most of the time is waiting for answers
        return [check for group in pool.map(lambda each: _look(*each), groups) for check in group]


def _look(name: str, look: Callable[[], Iterator[Check]]) -> list[Check]:
    found: list[Check] = []
    try:
        found.extend(look())
    except GanpipeError as error:
        found.append(Check(name, "fail", "could not be looked at", str(error)))
    except Exception as error:  # noqa: BLE001 - reported as a finding; the others go on
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        found.append(Check(name, "fail", text, "a broken installation? " + INSTALL))
    return found


def report(start: Path) -> int:
    """Print the checks as a table; returns the exit code: 0, or 2 when something is missing."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table("", "what", box=None, pad_edge=False)
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    found = checks(start.absolute())
    for check in found:
        mark = Text(check.status, style=colours[check.status])
        table.add_row(mark, *map(Text, (check.name, check.found, check.remedy)))
    console.print(table)
    failed = [check.name for check in found if check.status == "fail"]
    console.print(Text(f"\nmissing: {', '.join(failed)}" if failed else "\nready to run"))
    return 2 if failed else 0


def _repository(start: Path) -> tuple[Path, str]:
    try:
        return repository(start), ""
    except GanpipeError as error:
        return start, str(error)
