"""`run.py recount`: whether analytics say what the documents say, and setting them right (docs/analytics.md)."""

from __future__ import annotations

from config.settings import Settings
from program.people import CannotManage, managing
from storage.recount import Difference, RecountFailed, recount, repair

#: Differences that are printed one by one.
_MOST_SHOWN = 200


async def recount_all(settings: Settings, *, repairs: bool) -> tuple[list[str], bool]:
    """Count everything anew; returns what to print, and whether the sums are right now.

    Raises:
        CannotManage: when there is no database, it can't be reached, or the count can't be brought to an end.
    """
    async with managing(settings) as (database, _):
        try:
            found = await recount(database.client, database)
            if repairs and found.differences:
                await repair(database.client, database, found)
        except RecountFailed as error:
            raise CannotManage(str(error)) from None
    lines = [_line(each) for each in found.differences[:_MOST_SHOWN]]
    if len(found.differences) > _MOST_SHOWN:
        lines.append(f"… and {len(found.differences) - _MOST_SHOWN} more")
    outcome = ", set right" if repairs and found.differences else ""
    lines.append(f"{found.compared} numbers compared, {len(found.differences)} differ{outcome}")
    return lines, repairs or not found.differences


def _line(difference: Difference) -> str:
    place = difference.place
    where = f"{place.merchant_id} {place.scope} {place.day} {difference.path}"
    return f"{where}: {difference.kept} kept, {difference.counted} counted"
