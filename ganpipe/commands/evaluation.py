"""Commands: versions measured anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer


def evaluate(
    version: Annotated[
        str, typer.Argument(help="3, an alias, models:/NAME/3 or models:/NAME@ALIAS")
    ],
    model: Annotated[
        str, typer.Option(help="name of the model; empty is register.model of params.yaml")
    ] = "",
    like: Annotated[
        str, typer.Option(help="measure it as this other version was: on its data, by its protocol")
    ] = "",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="evaluate.KEY=VALUE", help="Override a parameter."),
    ] = None,
    again: Annotated[bool, typer.Option(help="also where the numbers are known")] = False,
) -> None:
    """Measure a registered version anew, so that the gate can compare it."""
    from ganpipe import params, registry, tracking
    from ganpipe.collection import using_cache
    from ganpipe.reevaluation import reevaluate
    from ganpipe.workspace import repository, state_folder

    repo = repository()
    uri = tracking.tracking_uri(state_folder(repo))
    name = model or params.load(repo / params.PARAMS_FILE).registration.model
    found = registry.find(uri, version, name)
    other = registry.find(uri, like, name) if like else None
    with using_cache(state_folder(repo)):
        told = reevaluate(repo, uri, found, assignments or [], like=other, again=again)
    measured = told.evaluation
    value = measured.measures[0]["value"]
    who = f"{found.name} version {found.version}"
    print(f"{who}: {measured.metric} = {value:.2f}, report in {measured.report}")
    if not told.done:
        print("it was measured by this very protocol before; --again does it once more")
    if other is None:
        return
    theirs = registry.evaluation_of(uri, other, measured.protocol)
    if theirs is None:
        print(
            f"version {other.version} has no numbers by that protocol, so the two cannot be "
            f"compared yet: `ganpipe evaluate {other.version}` measures it with today's code"
        )


COMMANDS: tuple[Callable[..., None], ...] = (evaluate,)
