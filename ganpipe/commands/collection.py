"""Commands: what may be deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from ganpipe.commands.options import Json


def gc(
    older_than: Annotated[
        str, typer.Option(help="only what was last written so long ago: 30d, 2w, 12h, 0s")
    ] = "30d",
    keep_last: Annotated[
        int,
        typer.Option(help="the newest workspaces, runs, and versions of each model stay", min=0),
    ] = 5,
    only: Annotated[
        str,
        typer.Option(
            help="workspaces, states, versions, runs, models, logs, notes, cache: any, with commas"
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would go")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="delete without asking")] = False,
    as_json: Json = False,
) -> None:
    """Delete what is old and no longer needed: runs, versions, workspaces, bytes of DVC's cache.

    Champion, previous-champion, candidates and versions tagged `keep` stay, with every byte that
    their dvc.lock names. DVC's remote is never touched.
    """
    import sys

    from ganpipe import collection
    from ganpipe.collection.told import as_json as json_of
    from ganpipe.collection.told import show, summary
    from ganpipe.commands.registry import open_registry
    from ganpipe.errors import GanpipeError

    rules = collection.Rules(collection.seconds(older_than), keep_last, collection.kinds(only))
    here = open_registry()
    plan = collection.plan(here.repo, here.uri, rules)
    if as_json:
        print(json_of(plan))
    else:
        show(plan)
    if dry_run or not (plan.going or plan.pins):
        return
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise GanpipeError("nothing was deleted: add --yes, or --dry-run only to look")
        typer.confirm("Delete that?", abort=True)
    gone: list[collection.Item] = []
    try:
        collection.collect(here.repo, here.uri, plan, rules, lock=here.lock(), done=gone.append)
    finally:
        if not as_json:
            print(f"deleted: {summary(gone)}")


COMMANDS: tuple[Callable[..., None], ...] = (gc,)
