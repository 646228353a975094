"""Whether to train again: what a version was made of, beside what would be made now.

Both are told in DVC's terms, so that the answer is the one that `dvc repro` would give, without
a workspace. What resolves to another value on another machine (`auto`) is no news.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from ganpipe.data.sources import FINGERPRINT
from ganpipe.data.words import listed
from ganpipe.files import read_json
from ganpipe.lineage import LOCK_FILE
from ganpipe.lineage.record import flat
from ganpipe.params import PARAMS_FILE, Params
from ganpipe.workspace import git

PIPELINE, IGNORE = "dvc.yaml", ".dvcignore"
# what ganpipe.compute.resolve replaces by what the machine has
AUTO = {
    "train.device": "auto",
    "train.precision": "auto",
    "train.threads": 0,
    "evaluate.threads": 0,
}
# how a version came to be, and no reason to make another
HOW = ("train.start", "train.start_counter")
NAMED = 6


@dataclass(frozen=True)
class Made:
    """What a model is made of."""

    source: dict[str, Any]
    """The fingerprint of its images; empty where it is not known."""
    code: dict[str, str]
    """Path to DVC's hash, of all that stages depend on and no stage makes."""
    params: dict[str, Any]
    """`section.key` to value, of all that stages read."""
    commands: dict[str, str]
    """Stage to command."""

    def digest(self, start: str) -> str:
        """Hexadecimal sha256 of all of it and of the checkpoint that training starts from."""
        told = json.dumps([asdict(self), start], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()


def of_version(kept: Path) -> Made:
    """What a version was made of, by the lineage that it carries in the folder `kept`."""
    lock = yaml.safe_load((kept / LOCK_FILE).read_text(encoding="utf-8")) or {}
    stages: dict[str, Any] = lock.get("stages", {})
    made = {out["path"] for stage in stages.values() for out in stage.get("outs", [])}
    deps = [dep for stage in stages.values() for dep in stage.get("deps", [])]
    read = {
        name for stage in stages.values() for name in stage.get("params", {}).get(PARAMS_FILE, {})
    }
    # not dvc.lock's values: it is YAML 1.2, where 1e-08 is a number
    values = yaml.safe_load((kept / PARAMS_FILE).read_text(encoding="utf-8"))
    source = kept / FINGERPRINT
    return Made(
        read_json(source) if source.is_file() else {},
        {dep["path"]: dep["md5"] for dep in deps if _is_code(dep["path"], made)},
        _read(values, read),
        {name: str(stage.get("cmd", "")) for name, stage in stages.items()},
    )


def of_checkout(repo: Path, commit: str, params: Params, source: Mapping[str, Any]) -> Made:
    """What a run would be made of: the code of a commit, parameters, a source's fingerprint."""
    files = _Files(repo, commit)
    stages: dict[str, Any] = yaml.safe_load(files.read([PIPELINE])[PIPELINE])["stages"]
    made = {out for stage in stages.values() for out in _names(stage.get("outs", []))}
    read = {name for stage in stages.values() for name in _names(stage.get("params", []))}
    deps = {dep for stage in stages.values() for dep in _names(stage.get("deps", []))}
    return Made(
        dict(source),
        files.hashes(sorted(dep for dep in deps if _is_code(dep, made))),
        _read(params.anchored(repo).dump(), read),
        {name: str(stage["cmd"]) for name, stage in stages.items()},
    )


def news(before: Made, now: Made) -> list[str]:
    """What is other now, one line for data, code and parameters each; empty: nothing is."""
    told = []
    if before.source != now.source:
        told.append(f"data: {_images(before.source)} -> {_images(now.source)}")
    changed = _changed(before.code, now.code) + [
        f"the stage {name}" for name in _changed(before.commands, now.commands)
    ]
    if changed:
        told.append(f"code: {listed(changed, NAMED)}")
    values = [
        f"{key} {before.params.get(key, '(none)')} -> {now.params.get(key, '(none)')}"
        for key in _changed(before.params, now.params)
        if key not in HOW and not (key in AUTO and now.params.get(key) == AUTO[key])
    ]
    if values:
        told.append(f"parameters: {listed(values, NAMED)}")
    return told


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    missing = object()
    names = sorted(before.keys() | now.keys())
    return [name for name in names if before.get(name, missing) != now.get(name, missing)]


def _images(source: Mapping[str, Any]) -> str:
    if not source:
        return "not known"
    return f"{source['count']:,} files of {source['source']} ({source['digest'][:8]})"


def _is_code(path: str, made: Iterable[str]) -> bool:
    """Whether no stage makes it, and it is not what stands for the images."""
    inside = any(PurePosixPath(path).is_relative_to(out) for out in made)
    return not inside and path != FINGERPRINT.as_posix()


def _names(entries: Iterable[Any]) -> list[str]:
    """Entries of a list in dvc.yaml; one with options is a mapping of its name to them."""
    return [each if isinstance(each, str) else next(iter(each)) for each in entries]


def _read(sections: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The parameters that `names` have, each a parameter or a whole section."""
    wanted = set(names)
    return {
        key: value for key, value in flat(sections).items() if {key, key.partition(".")[0]} & wanted
    }


class _Files:
    """The files of a commit, hashed as DVC hashes them in a checkout of it."""

    def __init__(self, repo: Path, commit: str) -> None:
        self._repo, self._commit = repo, commit

    def read(self, paths: list[str]) -> dict[str, bytes]:
        """The content of files, and of all files below folders; absent ones are left out."""
        listing = git(self._repo, "ls-tree", "-r", "-z", self._commit, "--", *paths)
        entries = [entry.partition("\t") for entry in listing.split("\0") if entry]
        names = {path: about.split()[2] for about, _, path in entries}
        asked = "".join(f"{name}\n" for name in names.values())
        answer = git(self._repo, "cat-file", "--batch", text=asked)
        rest = answer.encode("utf-8", "surrogateescape")
        found = {}
        for path in names:
            head, _, rest = rest.partition(b"\n")
            size = int(head.split()[2])
            found[path], rest = rest[:size], rest[size + 1 :]
        return found

    def hashes(self, paths: list[str]) -> dict[str, str]:
        """DVC's hash of each file and folder; empty for one that the commit does not have."""
        from pathspec import GitIgnoreSpec

        files = self.read([*paths, IGNORE])
        ignored = GitIgnoreSpec.from_lines(files.get(IGNORE, b"").decode().splitlines())
        hashed = {
            path: hashlib.md5(content, usedforsecurity=False).hexdigest()
            for path, content in files.items()
            if not ignored.match_file(path)
        }
        return {path: hashed.get(path) or _folder(path, hashed) for path in paths}


def _folder(path: str, hashed: Mapping[str, str]) -> str:
    below = f"{path}/"
    entries = [
        {"md5": hashed[name], "relpath": name.removeprefix(below)}
        for name in sorted(hashed)
        if name.startswith(below)
    ]
    if not entries:
        return ""
    told = json.dumps(entries, sort_keys=True).encode()
    return f"{hashlib.md5(told, usedforsecurity=False).hexdigest()}.dir"
