"""Which of the 256 partitions a key belongs to: stable over processes, versions and machines."""

from __future__ import annotations

from hashlib import blake2b

PARTITIONS = 256


def partition_of(kind: str, key: str) -> int:
    """Return the partition (0…255) of an actor's key."""
    return blake2b(f"{kind}|{key}".encode(), digest_size=1).digest()[0]


def host_of(partition: int, hosts: int) -> int:
    """Return the index of the host that owns a partition; each host owns one contiguous range."""
    return partition * hosts // PARTITIONS


def partitions_of(host: int, hosts: int) -> range:
    """Return the contiguous range of partitions that a host owns."""
    start = -(-host * PARTITIONS // hosts)
    end = -(-(host + 1) * PARTITIONS // hosts)
    return range(start, end)
