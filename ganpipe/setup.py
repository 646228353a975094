"""What `ganpipe init` does: parameters, the source's fingerprint, the DVC remote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ganpipe import params
from ganpipe.data.sources import FINGERPRINT, refresh
from ganpipe.errors import GanpipeError

REMOTE = "storage"


def initialise(root: Path, remote: str = "", endpoint: str = "") -> list[str]:
    """Make a checkout ready and say what was done, a line each; safe to repeat.

    Raises GanpipeError when the folder is no checkout or DVC does not take the remote.
    """
    if not (root / ".dvc").is_dir():
        raise GanpipeError(
            f"{root.resolve()} is no ganpipe checkout (no .dvc): clone ganpipe first"
        )
    done = []
    if not (root / params.PARAMS_FILE).exists():
        params.write(params.Params(), root / params.PARAMS_FILE)
        done.append(f"wrote {params.PARAMS_FILE} with the defaults")
    if not (root / FINGERPRINT).exists():
        found = refresh(params.load(root / params.PARAMS_FILE).data, root)
        done.append(f"wrote {FINGERPRINT}: {found['count']} files of {found['source']}")
    if remote:
        done.append(set_remote(root, remote, endpoint))
    elif endpoint:
        raise GanpipeError(f"--endpoint {endpoint} needs --remote s3://bucket/path")
    return done or ["nothing to do: params.yaml and data/source.json are there"]


def set_remote(root: Path, remote: str, endpoint: str = "") -> str:
    """Make a folder or a bucket the DVC remote, in .dvc/config.local, which git ignores."""
    if "://" not in remote:
        folder = Path(remote).expanduser().resolve()
        folder.mkdir(parents=True, exist_ok=True)
        remote = str(folder)
    _dvc(root, "remote", "add", "--local", "--default", "--force", REMOTE, remote)
    if endpoint:
        _dvc(root, "remote", "modify", "--local", REMOTE, "endpointurl", endpoint)
    return f"DVC remote {REMOTE} is {remote}: `dvc push` stores there, `dvc pull` fetches"


def _dvc(root: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if result.returncode:
        raise GanpipeError(f"dvc {' '.join(arguments)}: {result.stderr.strip()}")
