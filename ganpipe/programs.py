"""How a terminal calls the programs that are installed beside this Python."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def command(name: str) -> str:
    """`name` where PATH leads to this installation's program, else the program's path.

    The path is relative when the program lies below the current folder, as `.venv/bin/ganpipe`.
    """
    program = Path(sys.executable).parent / name
    found = shutil.which(name)
    if not program.is_file() or (found is not None and program.samefile(found)):
        return name
    here = Path.cwd()
    return shlex.quote(str(program.relative_to(here) if here in program.parents else program))
