"""A stage under a flow stops when the flow is gone, whatever stands between them."""

import os
import signal
import subprocess
import sys

import pytest

CODE = """
import time
from ganpipe.supervision import obey
obey()
print("ready", flush=True)
time.sleep(60)
"""


def _start(supervised):
    environment = {**os.environ, "GANPIPE_SUPERVISED": supervised}
    # a shell in between, as dvc has one
    return subprocess.Popen(
        ["sh", "-c", f'"{sys.executable}" -c "$CODE"; echo "code $?"'],
        env={**environment, "CODE": CODE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_the_end_of_standard_input_ends_the_stage():
    process = _start("1")
    assert process.stdout.readline() == "ready\n"
    process.stdin.close()
    assert process.stdout.readline() == f"code {128 + signal.SIGTERM}\n"
    process.wait(timeout=10)


def test_without_a_flow_standard_input_means_nothing():
    process = _start("0")
    assert process.stdout.readline() == "ready\n"
    process.stdin.close()
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
