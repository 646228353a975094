"""Where versions and runs came from, and the way back: identity, proof, reproduction, adoption."""

from ganpipe.lineage.adoption import ADOPTED, adopt, find
from ganpipe.lineage.identity import CHECKPOINTS, LOCK_FILE, checkpoint, identity, outputs, patch
from ganpipe.lineage.verify import verify

__all__ = [
    "ADOPTED",
    "CHECKPOINTS",
    "LOCK_FILE",
    "adopt",
    "checkpoint",
    "find",
    "identity",
    "outputs",
    "patch",
    "verify",
]
