"""`python -m ganpipe` is the command that dvc.yaml calls, so that a checkout runs its own code."""

from ganpipe.cli import main

if __name__ == "__main__":
    main()
