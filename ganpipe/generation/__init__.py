"""Images of a trained generator, as many as asked for, in files: resumable, whole or not at all."""

from ganpipe.generation.job import Written, generate, told
from ganpipe.generation.place import read_file

__all__ = ["Written", "generate", "read_file", "told"]
