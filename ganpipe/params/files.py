"""Parameters from params.yaml and `--set`, checked, and back to a commented file."""

from __future__ import annotations

import difflib
import io
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ganpipe.errors import GanpipeError
from ganpipe.params.section import Section
from ganpipe.params.whole import Params

PARAMS_FILE = "params.yaml"


def validate(values: Any, source: str = PARAMS_FILE) -> Params:
    """Check a nested mapping of sections.

    Raises GanpipeError that names every bad key, its value and what is allowed.
    """
    if not isinstance(values, dict):
        raise GanpipeError(f"{source} must hold sections like `data:`, not {values!r}")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise GanpipeError(
            "\n".join(f"{source}: {_explain(dict(problem))}" for problem in error.errors())
        ) from None


def _explain(problem: dict[str, Any]) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        guess = f"did you mean {close[0]}? " if close else ""
        return f"{key} is not a parameter: {guess}known here: {', '.join(known)}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return message
    return f"{key}={problem['input']} is not allowed: {message[0].lower()}{message[1:]}"


def _known_keys(location: list[str]) -> list[str]:
    model: type[BaseModel] = Params
    for part in location:
        by_alias = {field.alias or name: field for name, field in model.model_fields.items()}
        annotation = by_alias[part].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        model = annotation
    return [field.alias or name for name, field in model.model_fields.items()]


def load(path: Path | str = PARAMS_FILE) -> Params:
    """Read params.yaml. Raises GanpipeError when it is missing, no YAML, or not valid."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise GanpipeError(
            f"{path} is missing here ({Path.cwd()}): run ganpipe in its repository, "
            f"or write the defaults with `ganpipe init`"
        ) from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise GanpipeError(f"{path} is no YAML: {error}") from None
    return validate({} if values is None else values, source=str(path))


def override(params: Params, assignments: list[str]) -> Params:
    """Apply `section.key=value` assignments."""
    values = params.dump()
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        section, dot, name = key.partition(".")
        if not equals or not dot or not name:
            raise GanpipeError(
                f"--set {assignment!r}: write section.key=value, for instance train.kimg=300"
            )
        if section not in values:
            raise GanpipeError(
                f"--set {assignment}: {section} is not a section; known: {', '.join(values)}"
            )
        values[section][name] = _parsed(text)
    return validate(values, source="--set")


def _parsed(text: str) -> Any:
    """A list or null where the text is written as one, else the text, which pydantic reads."""
    if text == "null":
        return None
    if not text.startswith("["):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def write(params: Params, path: Path | str) -> None:
    """Write the parameters, each with its description as a comment."""
    Path(path).write_text(to_yaml(params), encoding="utf-8")


def to_yaml(params: Params) -> str:
    """The parameters as commented YAML: a pure function of their values."""
    out = io.StringIO()
    out.write("# ganpipe's parameters: sections named after the stages that read them.\n")
    for name, field in Params.model_fields.items():
        section: Section = getattr(params, name)
        out.write(f"\n# {(type(section).__doc__ or '').strip().splitlines()[0]}\n")
        out.write(f"{field.alias or name}:\n")
        for key, value in section.model_dump(mode="json").items():
            description = type(section).model_fields[key].description
            # a list on one line, as --set spells it; None is block style for the key around it
            style = None if isinstance(value, list) else False
            dumped = yaml.safe_dump(
                {key: value}, allow_unicode=True, width=10_000, default_flow_style=style
            )
            line = dumped.strip()
            out.write(f"  # {description}\n  {line}\n")
    return out.getvalue()
