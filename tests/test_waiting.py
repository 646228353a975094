"""Threads that wait give their core away soon: said before torch can read it."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from ganpipe import cli
assert "torch" not in sys.modules
sys.argv = ["ganpipe", "--version"]
try:
    cli.main()
except SystemExit:
    print(os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_a_command_says_it_before_torch_is_loaded_unless_somebody_did(
    given: dict[str, str], expected: str
) -> None:
    env = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**env, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == expected
