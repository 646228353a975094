"""The command line: parse, call, print. Heavy imports stay inside the commands."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated

import typer

from ganpipe import __version__
from ganpipe.commands import collection, evaluation, generation, lineage, registry, service
from ganpipe.commands.options import Threads
from ganpipe.errors import GanpipeError
from ganpipe.events import emit
from ganpipe.waiting import share_cores

app = typer.Typer(
    help="Turn a pile of images into a generator of such images: trained, measured, registered.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a parameter; repeatable."),
]


@app.command()
def run(
    preset: Annotated[
        str, typer.Option(help="Lay a preset over params.yaml, below --set; see `ganpipe presets`.")
    ] = "",
    assignments: Assignments = None,
) -> None:
    """Run the whole pipeline: images in, a measured and registered generator out."""
    from ganpipe import params, presets
    from ganpipe.workspace import repository

    chosen = params.load(repository() / params.PARAMS_FILE)
    if preset:
        print("\n".join(presets.explain(chosen, preset)), flush=True)
        chosen = presets.lay_over(chosen, preset)
    chosen = params.override(chosen, assignments or [])
    from flows.run import run_pipeline

    run_pipeline(chosen)


@app.command()
def stage(
    name: Annotated[str, typer.Argument(help="ingest, preprocess, ... as in dvc.yaml")],
) -> None:
    """Run one stage in the current folder; `dvc repro` calls this."""
    from ganpipe import params, stages
    from ganpipe.supervision import obey

    obey()
    emit(name, "start")
    stages.run(name, params.load(), Path())


@app.command()
def refresh(assignments: Assignments = None) -> None:
    """Look at the source of images and write its fingerprint to data/source.json."""
    from ganpipe import params
    from ganpipe.data.sources import refresh as work

    chosen = params.override(params.load(), assignments or [])
    found = work(chosen.data, Path())
    size = found["bytes"] / 1e6
    print(f"{found['source']}: {found['count']} files, {size:,.1f} MB, digest {found['digest']}")


@app.command()
def init(
    remote: Annotated[
        str, typer.Option(help="DVC remote: a folder or a bucket such as s3://bucket/path")
    ] = "",
    endpoint: Annotated[
        str, typer.Option(help="endpoint URL of an S3-compatible store that is not Amazon's")
    ] = "",
    preset: Annotated[
        str, typer.Option(help="write params.yaml from a preset; see `ganpipe presets`")
    ] = "",
    force: Annotated[bool, typer.Option(help="overwrite an edited params.yaml")] = False,
) -> None:
    """Make this checkout ready: params.yaml, the source's fingerprint, and a DVC remote."""
    from ganpipe.setup import initialise

    for line in initialise(Path(), remote, endpoint, preset=preset, force=force):
        print(line)


@app.command()
def presets(
    name: Annotated[str, typer.Argument(help="print this preset, with its comments")] = "",
) -> None:
    """List the ready-made parameters for `ganpipe run --preset` and `ganpipe init --preset`."""
    from ganpipe import presets as ready

    print(ready.text(name) if name else ready.listing(), end="")


@app.command()
def score(
    images: Annotated[
        str, typer.Option(help="folder, .zip, .tar or .npz of images, or .npz with mu and sigma")
    ],
    against: Annotated[str, typer.Option(help="the real ones, or a data set such as data/train")],
    unseen: Annotated[
        str, typer.Option(help="real ones that were not trained on: tells memorisation")
    ] = "",
    extractor: Annotated[
        str, typer.Option(help="feature network, as evaluate.extractor")
    ] = "lite0",
    precision: Annotated[
        str, typer.Option(help="float32, or bf16: faster, with names of its own")
    ] = "float32",
    weights: Annotated[str, typer.Option(help="file with the feature network's weights")] = "",
    samples: Annotated[int, typer.Option(help="images of each side; 0 takes all", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="of subsets", min=0, max=2**63 - 1)] = 1,
    most: Annotated[
        int, typer.Option(help="images of each side for measures of pairs", min=2)
    ] = 10_000,
    threads: Threads = 0,
    out: Annotated[
        Path | None, typer.Option(help="JSON file to write everything to", show_default=False)
    ] = None,
) -> None:
    """Measure any two sets of images against each other: distances, precision, recall, copying."""
    from ganpipe.compute import cores, settle
    from ganpipe.evaluation.score import Options, check_out
    from ganpipe.evaluation.score import score as work
    from ganpipe.evaluation.told import as_json, lines
    from ganpipe.files import write_json

    if out:
        check_out(out)
    settle(threads or cores())
    place = Path(weights).expanduser() if weights else None
    options = Options(extractor, precision, place, samples, seed, most)
    found = work(images, against, options, unseen)
    print("\n".join(lines(found)))
    if out:
        write_json(out, as_json(found))


@app.command()
def doctor() -> None:
    """Look over this installation and say what to do about what is missing."""
    from ganpipe.doctor import report

    raise typer.Exit(report(Path()))


@app.command()
def ui(
    prefect_port: Annotated[int, typer.Option(help="0 picks a free port")] = 0,
    mlflow_port: Annotated[int, typer.Option(help="0 picks a free port")] = 0,
) -> None:
    """Serve the Prefect UI with deployments and a worker, and the MLflow UI, until Ctrl-C."""
    from flows.server import ui as work
    from ganpipe.workspace import repository, state_folder

    work(state_folder(repository()), prefect_port=prefect_port, mlflow_port=mlflow_port)


@app.command()
def deploy(
    replace: Annotated[
        bool, typer.Option(help="replace what was edited on the server, too")
    ] = False,
) -> None:
    """Put deployments, limits and automations on the server of PREFECT_API_URL or `make ui`."""
    from flows.server import deploy as work
    from ganpipe.workspace import repository

    work(repository(), replace)


for part in (generation, registry, lineage, evaluation, service, collection):
    for each in part.COMMANDS:
        app.command()(each)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line; what users can mend ends with its message and exit code 2."""
    share_cores()
    try:
        app(prog_name="ganpipe")
    except GanpipeError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS):
            raise
        _fail(
            f"{error.filename or 'a file'}: {error.strerror}: free some space, or mend its rights"
        )


def _fail(message: str) -> None:
    # under `dvc repro` the stage's name is the last argument, and a flow wants the message
    emit(sys.argv[-1], "error", message=message)
    sys.stdout.flush()
    sys.stderr.write(f"error: {message}\n")
    sys.stderr.flush()
    sys.exit(2)
