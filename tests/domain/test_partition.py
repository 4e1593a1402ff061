from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.partition import (
    LANES,
    PARTITIONS,
    host_of,
    host_of_lane,
    lane_of,
    lanes_of,
    partition_of,
    partitions_of,
)

HOSTS = range(1, 65)


@pytest.mark.parametrize("hosts", HOSTS)
def test_each_partition_has_exactly_one_host(hosts: int) -> None:
    ranges = [partitions_of(host, hosts) for host in range(hosts)]
    assert list(chain.from_iterable(ranges)) == list(range(PARTITIONS))
    assert all(host_of(partition, hosts) == host for host, owned in enumerate(ranges) for partition in owned)


@pytest.mark.parametrize("hosts", HOSTS)
def test_partitions_are_spread_evenly(hosts: int) -> None:
    sizes = {len(partitions_of(host, hosts)) for host in range(hosts)}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("hosts", HOSTS)
def test_each_lane_has_exactly_one_host(hosts: int) -> None:
    ranges = [lanes_of(host, hosts) for host in range(hosts)]
    assert list(chain.from_iterable(ranges)) == list(range(LANES))
    assert all(host_of_lane(lane, hosts) == host for host, read in enumerate(ranges) for lane in read)
    sizes = {len(read) for read in ranges}
    assert max(sizes) - min(sizes) <= 1


def test_lanes_are_contiguous_ranges_of_partitions() -> None:
    lanes = [lane_of(partition) for partition in range(PARTITIONS)]
    assert lanes == sorted(lanes)
    assert {lanes.count(lane) for lane in range(LANES)} == {PARTITIONS // LANES}


@given(kind=st.text(), key=st.text())
def test_a_key_has_a_partition(kind: str, key: str) -> None:
    assert 0 <= partition_of(kind, key) < PARTITIONS
    assert partition_of(kind, key) == partition_of(kind, key)


def test_partitions_are_the_same_in_every_version() -> None:
    assert [partition_of("account", "a1"), partition_of("contact", "100:200")] == [44, 22]


def test_keys_spread_over_all_partitions() -> None:
    assert len({partition_of("account", str(number)) for number in range(5000)}) == PARTITIONS
