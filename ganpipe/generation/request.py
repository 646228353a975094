"""A request for images with all names resolved: which generator, which classes, which bytes."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ganpipe.errors import GanpipeError
from ganpipe.files import sha256
from ganpipe.networks import Generator, load_generator
from ganpipe.networks.generator import WEIGHTS
from ganpipe.params.generate import BALANCED, GenerateParams

REGISTERED = "models:"


@dataclass(frozen=True)
class Request:
    """What is to be made, and of which generator."""

    params: GenerateParams
    generator: Generator
    folder: Path
    """Where the generator's files lie."""
    version: str
    """models:/NAME/3, also where an alias was asked for; empty for a folder."""
    tags: dict[str, str]
    """The version's."""
    generator_sha256: str
    counts: list[int] | None
    """Images of each class by its number; None where they are drawn by their shares."""

    def identity(self) -> dict[str, Any]:
        """Everything that decides the bytes: JSON values, equal for equal outputs."""
        asked = self.params
        return {
            "generator_sha256": self.generator_sha256,
            "n": asked.n,
            "seed": asked.seed,
            "classes": asked.classes if self.counts is None else self.counts,
            "truncation": asked.truncation,
            "format": asked.format,
            "filter": asked.filter,
            "near_distance": asked.near_distance if asked.finds_near else None,
            "threads": asked.threads,
            "torch": version("torch"),
        }


def prepare(params: GenerateParams, state: Path) -> Request:
    """Find and load the generator. `state` is where registered ones are kept.

    Raises GanpipeError for an unknown version or class, and for damaged files.
    """
    from ganpipe import registry
    from ganpipe.tracking import tracking_uri

    uri, name, tags = "", params.model, {}
    if params.model.startswith(REGISTERED):
        uri = tracking_uri(state)
        found = registry.named(uri, params.model)
        # the alias may move before the files are fetched
        name, tags = f"models:/{found.name}/{found.version}", dict(found.tags)
    folder = registry.resolve(uri, name, state / "models")
    generator = load_generator(folder)
    return Request(
        params,
        generator,
        folder,
        name if uri else "",
        tags,
        sha256(folder / WEIGHTS),
        _counts(generator, params),
    )


def _counts(generator: Generator, params: GenerateParams) -> list[int] | None:
    asked = params.counts
    if asked is None and params.classes != BALANCED:
        return None
    if not generator.classes:
        raise GanpipeError(
            f"classes={params.classes}: this generator was trained without classes and cannot be "
            "asked for one; leave classes=any"
        )
    number = len(generator.classes)
    if asked is None:
        return [params.n // number + (k < params.n % number) for k in range(number)]
    if unknown := asked.keys() - set(generator.classes):
        known = ", ".join(generator.classes)
        raise GanpipeError(
            f"classes={params.classes}: there is no class {', '.join(sorted(unknown))}; this "
            f"generator's classes are {known}"
        )
    return [asked.get(name, 0) for name in generator.classes]
