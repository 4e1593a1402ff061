"""What this process's metrics say, for tests that compare before and after."""

from __future__ import annotations

from prometheus_client import REGISTRY


def value(name: str, **labels: str) -> float:
    """Return a sample's value; nothing counted yet is 0."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
