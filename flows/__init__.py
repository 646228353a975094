"""Prefect flows: when and where ganpipe's stages run, and what their runs show."""
