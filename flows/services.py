"""Servers and workers on this machine: guarded children, loopback ports, their logs."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows import processes
from ganpipe.addresses import opener
from ganpipe.errors import GanpipeError

HOST = "127.0.0.1"
START_SECONDS = 120.0


@dataclass
class Service:
    """A guarded child that listens or works, and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise GanpipeError with the last lines of its log when it has ended."""
        code = self.process.poll()
        if code is not None:
            raise GanpipeError(
                f"{self.name} ended with code {code}; the end of {self.log}:\n{tail(self.log)}"
            )

    def wait_for(self, url: str, seconds: float = START_SECONDS) -> None:
        """Return when `url` answers. Raises GanpipeError when it does not, or the server ended."""
        deadline = time.monotonic() + seconds
        while (problem := no_answer(url)) is not None:
            self.check()
            if time.monotonic() > deadline:
                raise GanpipeError(
                    f"{self.name} did not answer at {url} within {seconds:g} s ({problem}); "
                    f"the end of {self.log}:\n{tail(self.log)}"
                )
            time.sleep(0.1)


def start(
    name: str,
    command: list[str],
    state: Path,
    cwd: Path,
    env: Mapping[str, str],
    users: Path | None = None,
    patience: float = 5.0,
) -> Service:
    """Start a guarded service whose output goes to <state>/logs."""
    logs = state / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name.removeprefix('the ').lower().replace(' ', '-')}.log"
    with log.open("wb") as output:
        process = processes.start(
            command, cwd=cwd, env=env, output=output, users=users, patience=patience
        )
    return Service(name, process, log)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def check_port(port: int) -> None:
    """Raise GanpipeError when nothing can listen on a loopback port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise GanpipeError(
                f"port {port} cannot be used ({error}): choose another, or 0 for any free one"
            ) from None


def no_answer(url: str, seconds: float = 5.0) -> str | None:
    """Why `url` gives no good answer, or None when it does."""
    try:
        with opener(url).open(url, timeout=seconds):
            return None
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
