"""A model that gives every picture one vector is told by the mean cosine."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry

from streams.metrics import Metrics
from streams.worker.vector_drift import VectorDrift, mean_cosine


def test_mean_cosine_is_that_of_all_pairs() -> None:
    vectors = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [float(unit[a] @ unit[b]) for a in range(7) for b in range(a)]
    assert abs(mean_cosine(vectors) - float(np.mean(pairs))) < 1e-6


def test_alike_vectors_show_on_the_metric() -> None:
    metrics = Metrics(CollectorRegistry())
    recent = VectorDrift(metrics)
    for number in range(100):
        recent.add({"semantic": np.array([1, number], np.float32), "visual": np.array([3, 4], np.float32)})
    recent.report()
    value = metrics.registry.get_sample_value
    assert abs((value("sightline_recent_vectors_mean_cosine", {"vector": "visual"}) or 0) - 1) < 1e-6
    assert (value("sightline_recent_vectors_mean_cosine", {"vector": "semantic"}) or 0) > 0.9
