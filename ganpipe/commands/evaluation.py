"""Commands: versions measured anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from ganpipe.commands.options import Model, Version


def evaluate(
    version: Version,
    model: Model = "",
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
    from ganpipe import registry
    from ganpipe.collection import using_cache
    from ganpipe.commands.registry import open_registry
    from ganpipe.reevaluation import reevaluate
    from ganpipe.workspace import state_folder

    here = open_registry(model)
    found = registry.find(here.uri, version, here.model)
    other = registry.find(here.uri, like, here.model) if like else None
    with using_cache(state_folder(here.repo)):
        told = reevaluate(here.repo, here.uri, found, assignments or [], like=other, again=again)
    measured = told.evaluation
    value = measured.measures[0]["value"]
    who = f"{found.name} version {found.version}"
    print(f"{who}: {measured.metric} = {value:.2f}, report in {measured.report}")
    if not told.done:
        print("it was measured by this very protocol before; --again does it once more")
    if other is None:
        return
    theirs = registry.evaluation_of(here.uri, other, measured.protocol)
    if theirs is None:
        print(
            f"version {other.version} has no numbers by that protocol, so the two cannot be "
            f"compared yet: `ganpipe evaluate {other.version}` measures it with today's code"
        )


COMMANDS: tuple[Callable[..., None], ...] = (evaluate,)
