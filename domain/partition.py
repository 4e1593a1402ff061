"""Which of the 256 partitions a key belongs to: stable over processes, versions and machines."""

from __future__ import annotations

from hashlib import blake2b

PARTITIONS = 256
#: The inbox is read by lanes of partitions: as many hosts can take part in ingestion.
LANES = 8


def partition_of(kind: str, key: str) -> int:
    """Return the partition (0…255) of an actor's key."""
    return blake2b(f"{kind}|{key}".encode(), digest_size=1).digest()[0]


def lane_of(partition: int) -> int:
    """Return the inbox lane (0…7) of a partition."""
    return partition * LANES // PARTITIONS


def host_of_lane(lane: int, hosts: int) -> int:
    """Return the index of the host that reads a lane."""
    return lane * hosts // LANES if hosts <= LANES else lane


def lanes_of(host: int, hosts: int) -> range:
    """Return the contiguous range of lanes that a host reads; none for hosts beyond the number of lanes."""
    mine = [lane for lane in range(LANES) if host_of_lane(lane, hosts) == host]
    return range(mine[0], mine[-1] + 1) if mine else range(0)


def host_of(partition: int, hosts: int) -> int:
    """Return the index of the host that owns a partition; each host owns one contiguous range."""
    return partition * hosts // PARTITIONS


def partitions_of(host: int, hosts: int) -> range:
    """Return the contiguous range of partitions that a host owns."""
    start = -(-host * PARTITIONS // hosts)
    end = -(-(host + 1) * PARTITIONS // hosts)
    return range(start, end)
