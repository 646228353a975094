"""The routes of the service."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from numpy.typing import NDArray
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field

from ganpipe import __version__, serving
from ganpipe.errors import GanpipeError
from ganpipe.networks import sample
from ganpipe.networks.generator import drawn_labels
from ganpipe.service import answers
from ganpipe.service.access import allowed
from ganpipe.service.body import LimitedBody
from ganpipe.service.kept import Samples
from ganpipe.service.metrics import Counted, Measures
from ganpipe.service.models import Models, Served
from ganpipe.service.queue import FullError, GoneError, WorkQueue

PAGE, DOCS = (Path(__file__).parent / name for name in ("page.html", "docs.html"))
PAGE_POLICY = (
    "default-src 'none'; img-src data:; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'"
)
DRAWN_SEEDS = 2**32
PURPOSE = "generate"  # of the latents, as everywhere where a user asks for images
BATCH = 16  # what the network always sees; most requests are small, and a core is as quick with it
RETRY_SECONDS = "1"
Given = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


class Wanted(BaseModel):
    """Images that are asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)
    n: int = Field(16, description="number of images")
    seed: int | None = Field(None, description="equal seeds, equal images; none: one is drawn")
    label: str | int = Field("", description="name or number of a class; empty: any")
    truncation: float = Field(1.0, description="0 < t <= 1: less is more typical, less varied")
    format: answers.Format | None = Field(None, description="goes before the header Accept")


def build(
    models: Models,
    queue: WorkQueue,
    *,
    token: str = "",
    most: int = 256,
    kept: Samples | None = None,
) -> FastAPI:
    """The application: `most` images for each request; with a token only for who sends it.

    `kept` is given the samples that are made as the model is measured.
    """

    @asynccontextmanager
    async def following(_: FastAPI) -> AsyncIterator[None]:
        models.start()
        yield
        models.stop()
        if kept is not None:
            kept.close()

    measures = Measures(models, queue)
    app = FastAPI(
        title="ganpipe",
        version=__version__,
        description=f"Images of a trained generator, at most {most:,} for each request.",
        lifespan=following,
        docs_url=None,  # those pages load their scripts from elsewhere
        redoc_url=None,
    )
    app.add_middleware(LimitedBody)
    app.add_middleware(Counted, measures=measures)
    _add_handlers(app)
    guarded = [Depends(_guard(token))]

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return FileResponse(PAGE, headers={"Content-Security-Policy": PAGE_POLICY})

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return FileResponse(DOCS, headers={"Content-Security-Policy": PAGE_POLICY})

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Ready: a model is loaded. `registry` tells whether its alias is followed."""
        state = ("out of reach" if models.problem else "followed") if models.follows else "fixed"
        return {
            "status": "ready",
            "model": models.current.name,
            "version": models.current.version,
            "registry": state,
        }

    @app.get("/model", dependencies=guarded)
    def model() -> dict[str, Any]:
        """What is served: name and version, classes, size of an image, most images at once."""
        served = models.current
        config = served.generator.config
        return {
            "model": served.name,
            "version": served.version,
            "sha256": served.sha256,
            "classes": served.generator.classes,
            "height": config.image_height,
            "width": config.image_width,
            "channels": config.image_channels,
            "most": most,
        }

    @app.get("/metrics", dependencies=guarded)
    def metrics() -> Response:
        """What Prometheus reads."""
        return Response(generate_latest(measures.registry), media_type=CONTENT_TYPE_LATEST)

    @app.post("/generate", dependencies=guarded, response_class=Response, responses=_ANSWERS)
    async def generate(
        wanted: Wanted, request: Request, accept: Annotated[str, Header()] = "*/*"
    ) -> Response:
        """Images: a grid as PNG, a ZIP of PNG files with their classes, JSON with PNG in base64."""
        kind = wanted.format or answers.chosen(accept)
        if kind is None:
            raise HTTPException(406, f"Accept: {accept}: use {', '.join(_TYPES)}")
        served = models.current
        seed = secrets.randbelow(DRAWN_SEEDS) if wanted.seed is None else wanted.seed
        label = _check(served, wanted, seed, most)

        def keep(images: NDArray[np.uint8]) -> None:
            # what another model took the place of meanwhile is looked at no more
            if kept is not None and served is models.current:
                kept.add(served, images)

        def work() -> bytes:
            return _answer(served, wanted, seed, label, kind, keep)

        content = await queue.run(work, request.is_disconnected)
        measures.images.inc(wanted.n)
        return Response(content, media_type=answers.MEDIA_TYPES[kind], headers=_names(served, seed))

    return app


_TYPES = tuple(answers.MEDIA_TYPES.values())
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {each: {} for each in _TYPES}},
    400: {"description": "what was asked for cannot be made, and why"},
    503: {"description": f"too many wait already: come back in {RETRY_SECONDS} s"},
}


def _check(served: Served, wanted: Wanted, seed: int, most: int) -> int:
    """The number of the class that is asked for. Raises GanpipeError for what cannot be made."""
    if not 1 <= wanted.n <= most:
        raise GanpipeError(f"n={wanted.n}: ask for 1 to {most:,} images")
    serving.check_request(wanted.n, seed, wanted.truncation)
    classes = served.generator.classes
    label = wanted.label
    if isinstance(label, str):
        label = serving.class_number(served.generator, label)
    if not serving.ANY_LABEL <= label < len(classes):
        names = ", ".join(f"{number} {name}" for number, name in enumerate(classes))
        raise GanpipeError(
            f"label={label}: use {serving.ANY_LABEL} for any class, or one of {names}"
        )
    return label


def _answer(
    served: Served,
    wanted: Wanted,
    seed: int,
    label: int,
    kind: answers.Format,
    keep: Callable[[NDArray[np.uint8]], None],
) -> bytes:
    generator, n = served.generator, wanted.n
    only = None if label == serving.ANY_LABEL else label
    images = sample(generator, n, seed, wanted.truncation, PURPOSE, batch=BATCH, label=only)
    if only is None and wanted.truncation == 1.0:
        keep(images)
    drawn = drawn_labels(generator, seed, PURPOSE, 0, n, only)
    labels = [] if drawn is None else [generator.classes[number] for number in drawn]
    about = answers.About(served.name, served.version, seed, wanted.truncation, labels)
    return answers.encode(images, kind, about)


def _names(served: Served, seed: int) -> dict[str, str]:
    """Headers that say whose images these are; names may hold what no header can."""
    return {
        "X-Ganpipe-Model": quote(served.name),
        "X-Ganpipe-Version": served.version,
        "X-Ganpipe-Seed": str(seed),
    }


def _guard(token: str) -> Callable[..., None]:
    def guard(given: Given) -> None:
        if not allowed(token, given.credentials if given else None):
            raise HTTPException(
                401, "send the header Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )

    return guard


def _add_handlers(app: FastAPI) -> None:
    """Every refusal is JSON with `detail`, one sentence."""

    @app.exception_handler(GanpipeError)
    def refused(_: Request, error: GanpipeError) -> Response:
        return JSONResponse({"detail": str(error)}, 400)

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "model_attributes_type":
            first["msg"] = "send JSON, with the header Content-Type: application/json"
        where = ".".join(str(part) for part in first["loc"])
        return JSONResponse({"detail": f"{where}: {first['msg']}"}, 422)

    @app.exception_handler(FullError)
    def full(_: Request, __: FullError) -> Response:
        detail = f"too many requests wait already: come back in {RETRY_SECONDS} s"
        return JSONResponse({"detail": detail}, 503, {"Retry-After": RETRY_SECONDS})

    @app.exception_handler(GoneError)
    def gone(_: Request, __: GoneError) -> Response:
        return Response(status_code=499)  # nobody reads it; the measures count it
