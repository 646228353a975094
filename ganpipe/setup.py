"""What `ganpipe init` does: parameters, the source's fingerprint, the DVC remote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ganpipe import params, presets
from ganpipe.data.sources import FINGERPRINT, refresh
from ganpipe.errors import GanpipeError
from ganpipe.files import replacing
from ganpipe.workspace import git

REMOTE = "storage"


def initialise(
    root: Path,
    remote: str = "",
    endpoint: str = "",
    *,
    preset: str = "",
    force: bool = False,
) -> list[str]:
    """Make a checkout ready and say what was done, a line each; safe to repeat.

    Raises GanpipeError when the folder is no checkout, DVC does not take the remote, the preset
    is unknown, or it would overwrite edits of params.yaml that are kept nowhere else and `force`
    is not given.
    """
    if not (root / ".dvc").is_dir():
        raise GanpipeError(
            f"{root.resolve()} is no ganpipe checkout (no .dvc): clone ganpipe first"
        )
    done = []
    if preset:
        done += write_preset(root, preset, force=force)
    elif not (root / params.PARAMS_FILE).exists():
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


def write_preset(root: Path, name: str, *, force: bool = False) -> list[str]:
    """Write params.yaml from a preset over the defaults, and say so."""
    path, made = root / params.PARAMS_FILE, params.to_yaml(presets.load(name))
    before = path.read_text(encoding="utf-8") if path.exists() else None
    if before == made:
        return [f"{params.PARAMS_FILE} is that of preset {name} already"]
    if before is not None and not force and not _kept_elsewhere(root, before):
        raise GanpipeError(
            f"{params.PARAMS_FILE} has edits that are kept nowhere else: commit them, or overwrite "
            f"them with `ganpipe init --preset {name} --force`; `ganpipe run --preset {name}` "
            "lays the preset over them instead"
        )
    with replacing(path) as beside:
        beside.write_text(made, encoding="utf-8")
    done = [f"wrote {params.PARAMS_FILE} from preset {name}"]
    if (root / FINGERPRINT).exists() and "data" in presets.keys(name):
        done.append("next: `ganpipe refresh` looks at the images of the preset")
    return done


def _kept_elsewhere(root: Path, text: str) -> bool:
    """Whether params.yaml can be had again: from the defaults, a preset, or git."""
    ready = (params.Params(), *map(presets.load, presets.names()))
    if any(text == params.to_yaml(each) for each in ready):
        return True
    blob = git(root, "hash-object", "--", params.PARAMS_FILE).strip()
    check = git(root, "cat-file", "--batch-check", text=f"{blob}\n")
    return not check.strip().endswith("missing")


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
