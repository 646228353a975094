"""What every section of the parameters is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of every section: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # forms show the key that params.yaml and --set know, not `Lr` or `Test Fraction`
        field_title_generator=lambda name, _: name,
    )
