"""The tag that tells ganpipe's flow runs from those of others on the same Prefect server."""

TAG = "ganpipe"  # of all deployments in infra/prefect.yaml, and so of their runs
