"""The model registry: versions, the gate, moves of aliases, and what became of every decision."""

from ganpipe.registry.audit import Move, history, to_json
from ganpipe.registry.by_hand import reconcile
from ganpipe.registry.evaluations import Evaluation, comparable, evaluation_of
from ganpipe.registry.gate import Decision, Result
from ganpipe.registry.judge import Verify, judge
from ganpipe.registry.locks import file_lock, is_shared
from ganpipe.registry.promotion import promote, rollback
from ganpipe.registry.registration import Registration, register
from ganpipe.registry.versions import (
    CANDIDATE,
    CHAMPION,
    MODEL_URI,
    PREVIOUS,
    aliases,
    find,
    named,
    resolve,
)

__all__ = [
    "CANDIDATE",
    "CHAMPION",
    "MODEL_URI",
    "PREVIOUS",
    "Decision",
    "Evaluation",
    "Move",
    "Registration",
    "Result",
    "Verify",
    "aliases",
    "comparable",
    "evaluation_of",
    "file_lock",
    "find",
    "history",
    "is_shared",
    "judge",
    "named",
    "promote",
    "reconcile",
    "register",
    "resolve",
    "rollback",
    "to_json",
]
