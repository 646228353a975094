"""What every section of the parameters is."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}
LARGEST_TOLD = 2**53  # more is all that the number's type can hold


def _tell_bounds(schema: dict[str, Any]) -> None:
    """Add the bounds of each number to what describes it: forms check them and do not show them."""
    for field in schema["properties"].values():
        # a number that may be left out is one of two alternatives
        limits = field | next(iter(field.get("anyOf", ())), {})
        told = [
            f"{word} {limits[key]:,.12g}"
            for key, word in BOUNDS.items()
            if abs(limits.get(key, LARGEST_TOLD)) < LARGEST_TOLD
        ]
        if told:
            field["description"] = f"{field['description']} ({', '.join(told)})"


class Section(BaseModel):
    """Base of every section: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # forms show the key that params.yaml and --set know, not `Lr` or `Test Fraction`
        field_title_generator=lambda name, _: name,
        json_schema_extra=_tell_bounds,
    )
