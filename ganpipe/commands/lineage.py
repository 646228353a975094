"""Commands: where versions and runs came from, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganpipe.commands.options import Json, Model, Version

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def adopt(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="a run, as `ganpipe run` names it")],
    force: Annotated[bool, typer.Option(help="overwrite uncommitted edits")] = False,
) -> None:
    """Bring a run's params.yaml, dvc.lock and fingerprint into this checkout."""
    from ganpipe.lineage import adopt as work
    from ganpipe.programs import command
    from ganpipe.workspace import repository

    brought = ", ".join(work(repository(), run_id, force=force))
    print(f"{run_id}: brought {brought}" if brought else f"{run_id}: nothing changed, all is here")
    print(f"next: {command('dvc')} checkout  # its data, model and report")


def lineage(version: Version, model: Model = "", as_json: Json = False) -> None:
    """Show what a version was made of, from the source of its images to its aliases."""
    import json

    from ganpipe.lineage.record import record

    uri, _, found = _found(version, model)
    known = record(uri, found)
    if as_json:
        print(json.dumps(known, indent=2))
        return
    from rich import print as show

    from ganpipe.lineage.tree import tree

    show(tree(known))


def verify(
    version: Version,
    model: Model = "",
    thorough: Annotated[
        bool, typer.Option(help="read every byte again, also where nothing changed")
    ] = False,
) -> None:
    """Look whether every byte that a version names is there and right; exit code 1 if not."""
    from ganpipe.lineage.verify import verify as work

    uri, repo, found = _found(version, model)
    problems = work(uri, found, repo, thorough=thorough)
    for problem in problems:
        print(problem)
    if problems:
        raise typer.Exit(1)
    print(f"{found.name} version {found.version}: all is there and matches")


def push(version: Version, model: Model = "") -> None:
    """Send every byte of a version to the DVC remote, for other machines."""
    from ganpipe.lineage.push import push as work

    uri, repo, found = _found(version, model)
    work(uri, found, repo)
    print(f"{found.name} version {found.version}: all of it is on the remote")


def reproduce(
    version: Version,
    model: Model = "",
    from_scratch: Annotated[
        bool, typer.Option(help="compute every stage anew; nothing comes from a cache")
    ] = False,
    verify: Annotated[
        bool, typer.Option(help="end with exit code 1 unless all outputs are identical")
    ] = False,
) -> None:
    """Turn a version back into a workspace and compare its outputs with what was registered."""
    from ganpipe.lineage.reproduce import reproduce as work

    uri, repo, found = _found(version, model)
    made = work(uri, found, repo, from_scratch=from_scratch)
    for output in made.outputs:
        print(f"{output.path}: {'identical' if output.identical else 'differs'}")
        for line in output.differences:
            print(f"  {line}")
    for reason in made.reasons:
        print(f"why it may: {reason}")
    print(f"workspace: {made.workspace}")
    if verify and not made.identical:
        raise typer.Exit(1)


def diff(
    one: Version,
    two: Version,
    model: Model = "",
    out: Annotated[
        Path | None,
        typer.Option(help="write a page with samples of both, FILE.html, and FILE.png beside it"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two versions: parameters, data, code, measures and, with --out, samples."""
    import json

    from ganpipe.lineage import told
    from ganpipe.lineage.difference import difference
    from ganpipe.lineage.pictures import write_page

    uri, repo, first = _found(one, model)
    _, _, second = _found(two, model)
    found = difference(uri, first, second, repo)
    print(json.dumps(found, indent=2) if as_json else "\n".join(told.lines(found)))
    if out:
        page, picture = write_page(uri, first, second, repo, found, out)
        if not as_json:
            print(f"page: {page}\npicture: {picture}")


def _found(wanted: str, model: str) -> tuple[str, Path, ModelVersion]:
    """MLflow's address, the repository, and the version that is meant."""
    from ganpipe import registry
    from ganpipe.commands.registry import open_registry

    here = open_registry(model)
    return here.uri, here.repo, registry.find(here.uri, wanted, here.model)


COMMANDS: tuple[Callable[..., None], ...] = (adopt, lineage, verify, push, reproduce, diff)
