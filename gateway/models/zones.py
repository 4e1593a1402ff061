from __future__ import annotations

from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _known_zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("is no time zone of the IANA database")
    return name


#: A time zone by its name in the IANA database.
TimeZoneName = Annotated[str, AfterValidator(_known_zone)]
