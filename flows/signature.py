"""The types of a flow's parameters, such that it can be sent to another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

Function = TypeVar("Function", bound=Callable[..., Any])


def typed(function: Function) -> Function:
    """A function whose annotations are types, not their names.

    `flow.serve()` pickles flows for the processes that run them, without the names that only
    annotations use; there, Prefect could not validate parameters.
    """
    function.__annotations__ = get_type_hints(function, include_extras=True)
    return function
