"""What Prometheus reads: requests, images, seconds, the queue, the model, the registry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ganpipe.service.models import Models
from ganpipe.service.queue import WorkQueue

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Measures:
    """The service's own registry of measures, so that two services of a process share none."""

    def __init__(self, models: Models, queue: WorkQueue) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ganpipe_requests", "Requests answered", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "ganpipe_generate_seconds",
            "From a request for images to its answer, waiting included; only those that got some",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.images = Counter("ganpipe_images", "Images made", registry=self.registry)
        self.registry.register(_State(models, queue))


class _State(Collector):
    def __init__(self, models: Models, queue: WorkQueue) -> None:
        self.models, self.queue = models, queue

    def collect(self) -> Iterator[Metric]:
        models = self.models
        served = models.current
        model = GaugeMetricFamily(
            "ganpipe_model", "The model that is served", labels=["model", "version", "sha256"]
        )
        model.add_metric([served.name, served.version, served.sha256], 1)
        yield model
        for name, help_, value in (
            ("ganpipe_queue", "Requests for images that run or wait", self.queue.inside),
            ("ganpipe_swaps", "Models that took another's place", models.swaps),
            ("ganpipe_registry_up", "1: the alias is followed", not models.problem),
            ("ganpipe_registry_seconds", "When the registry last answered (Unix)", models.looked),
        ):
            yield GaugeMetricFamily(name, help_, value=float(value))


class Counted:
    """Middleware that counts answers by route and status."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self.app, self.measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and look at its answer."""
        began, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            if scope["type"] == "http":
                # not the path that was asked for: whoever asks would choose how many there are
                path = getattr(scope.get("route"), "path", "other")
                self.measures.requests.labels(path, str(status)).inc()
                if path == "/generate" and status == 200:
                    self.measures.seconds.observe(time.perf_counter() - began)
