"""The command line answers at once: it imports nothing heavy before a command needs it."""

import subprocess
import sys

import pytest

from ganpipe import __version__

HEAVY = ("torch", "torchvision", "mlflow", "prefect", "dvc", "pandas", "sklearn", "numpy", "PIL")


def _ganpipe(*arguments):
    command = [sys.executable, "-m", "ganpipe", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_imports_nothing_heavy():
    code = "import ganpipe.cli, sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())


def test_help_names_every_command():
    done = _ganpipe("--help")
    assert done.returncode == 0
    for name in ("run", "stage", "generate", "doctor", "refresh", "adopt", "init", "ui"):
        assert name in done.stdout


def test_the_version_is_the_package_s():
    assert _ganpipe("--version").stdout.strip() == __version__


@pytest.mark.parametrize("arguments", [["trian"], ["run", "--kimg", "3"], ["stage"]])
def test_a_command_that_is_none_ends_with_code_2(arguments):
    done = _ganpipe(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
