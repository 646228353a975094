"""Commands: images of a trained generator."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import typer

from ganpipe.commands.options import Threads


def generate(
    model: Annotated[
        str, typer.Option(help="models:/NAME@ALIAS, models:/NAME/VERSION, or a model folder")
    ] = "models:/ganpipe@champion",
    n: Annotated[int, typer.Option(help="number of images")] = 64,
    seed: Annotated[int, typer.Option(help="the same seed gives the same images")] = 0,
    truncation: Annotated[
        float, typer.Option(help="0 to 1: below 1 trades variety for typical images")
    ] = 1.0,
    label: Annotated[
        str, typer.Option(help="name of one class, where the model was trained with classes")
    ] = "",
    classes: Annotated[
        str, typer.Option(help="any, balanced, or counts such as '{cat: 60, dog: 4}'")
    ] = "any",
    out: Annotated[
        str,
        typer.Option(
            help="folder, or a URL such as s3://bucket/folder; empty: one of its own "
            "below .ganpipe/samples"
        ),
    ] = "samples",
    form: Annotated[
        str,
        typer.Option(
            "--format", help="png: PNG files; shards: ganpipe's data set; parquet: Hugging Face's"
        ),
    ] = "png",
    drop: Annotated[
        str,
        typer.Option(
            "--filter",
            help="none, near-duplicates, memorised or both: samples replaced by others",
        ),
    ] = "none",
    near_distance: Annotated[
        int, typer.Option(help="bits of 64 in which hashes of near duplicates differ")
    ] = 4,
    threads: Threads = 0,
    replace: Annotated[
        bool, typer.Option("--replace", help="replace images of another request in that place")
    ] = False,
) -> None:
    """Write images of a trained generator; started again after a kill, it goes on."""
    from pathlib import Path

    from ganpipe.errors import GanpipeError
    from ganpipe.events import emit
    from ganpipe.params.generate import ANY, generate_params

    if label and classes != ANY:
        raise GanpipeError(f"--label {label} and --classes {classes}: name one of them")
    params = generate_params(
        model=model,
        n=n,
        seed=seed,
        truncation=truncation,
        classes=json.dumps({label: n}, ensure_ascii=False) if label else classes,
        format=form,
        destination=out,
        filter=drop,
        near_distance=near_distance,
        threads=threads,
        replace=replace,
    )
    from ganpipe.generation import generate as work
    from ganpipe.generation import told
    from ganpipe.workspace import repository

    # only a registered model needs the repository, for what it is and where it is kept
    written = work(params, repository() if model.startswith("models:") else Path())
    about = {key: value for key, value in written.description.items() if key != "sha256_of"}
    emit("generate", "written", place=written.destination, **about)
    print(told(written))


COMMANDS: tuple[Callable[..., None], ...] = (generate,)
