"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Version = Annotated[
    str, typer.Argument(metavar="VERSION", help="3, an alias, models:/NAME/3 or models:/NAME@ALIAS")
]
Model = Annotated[
    str, typer.Option(help="name of the model; empty is register.model of params.yaml")
]
Threads = Annotated[int, typer.Option(help="CPU threads; 0 is every core", min=0, max=1024)]
Json = Annotated[bool, typer.Option("--json", help="everything, for programs")]
