"""Commands: a generator as a service, or for other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    model: Annotated[
        str, typer.Option(help="a version (3, champion, models:/NAME@ALIAS) or a model folder")
    ] = "champion",
    host: Annotated[str, typer.Option(help="address to listen at")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 picks a free one", min=0, max=65535)] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help="file with a token that requests must send; or GANPIPE_SERVICE_TOKEN"),
    ] = None,
    without_token: Annotated[
        bool, typer.Option("--without-token", help="let other machines in without one")
    ] = False,
    most: Annotated[int, typer.Option(help="images for each request", min=1)] = 256,
    running: Annotated[
        int, typer.Option(help="requests that make images at once; 0: what the cores allow", min=0)
    ] = 0,
    waiting: Annotated[int, typer.Option(help="requests that wait; more get 503", min=0)] = 32,
    threads: Annotated[
        int, typer.Option(help="of torch, for each running request", min=1, max=1024)
    ] = 1,
    poll: Annotated[float, typer.Option(help="seconds between looks at the alias", min=0.1)] = 5.0,
    keep_samples: Annotated[
        Path | None,
        typer.Option(help="folder of this service's own for some of its samples, to be watched"),
    ] = None,
    keep: Annotated[int, typer.Option(help="samples to keep there", min=2, max=100_000)] = 1000,
) -> None:
    """Serve images over HTTP: a page, PNG, ZIP or JSON; follows the champion as it changes."""
    from ganpipe.service.access import check_host, read_token
    from ganpipe.service.server import Limits
    from ganpipe.service.server import serve as work
    from ganpipe.tracking import tracking_uri

    token = read_token(token_file)
    check_host(host, token, without_token=without_token)
    address, state = _addressed(model, "")
    work(
        address,
        lambda: tracking_uri(state),
        state / "models",
        host=host,
        port=port,
        token=token,
        poll=poll,
        limits=Limits(most, running, waiting, threads, keep),
        samples=keep_samples and keep_samples.expanduser(),
    )


def export(
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="3, champion, models:/NAME/3, or a folder")
    ],
    out: Annotated[Path, typer.Option(help="file to write")] = Path("generator.onnx"),
    kind: Annotated[Literal["onnx"], typer.Option("--format", help="format of the file")] = "onnx",
    model: Annotated[str, typer.Option(help="name of the model, for 3 and champion")] = "",
) -> None:
    """Write a generator for other programs, checked against PyTorch."""
    from ganpipe.export import to_onnx
    from ganpipe.registry import named, resolve
    from ganpipe.tracking import tracking_uri

    del kind  # the only one so far
    address, state = _addressed(version, model)
    uri = tracking_uri(state) if address.startswith("models:") else ""
    if uri:  # the file says which version it is, and an alias moves
        found = named(uri, address)
        address = f"models:/{found.name}/{found.version}"
    difference = to_onnx(resolve(uri, address, state / "models"), out, address)
    print(f"{out}: differs from PyTorch by at most {difference:.1g}")


def _addressed(wanted: str, model: str) -> tuple[str, Path]:
    """The folder or models:/... that is meant, and the folder of local state."""
    from ganpipe.workspace import repository, state_folder

    if Path(wanted).expanduser().is_dir():
        return wanted, state_folder(Path())
    state = state_folder(repository())
    if wanted.startswith("models:") or "/" in wanted:
        return wanted, state
    name = model or _default_model()
    return f"models:/{name}/{wanted}" if wanted.isdigit() else f"models:/{name}@{wanted}", state


def _default_model() -> str:
    from ganpipe import params
    from ganpipe.workspace import repository

    file = repository() / params.PARAMS_FILE
    return params.load(file).registration.model if file.is_file() else "ganpipe"


COMMANDS: tuple[Callable[..., None], ...] = (serve, export)
