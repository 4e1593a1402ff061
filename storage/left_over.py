"""What processes that died have left unfinished, completed one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from pymongo.errors import ConnectionFailure


async def complete_each(ids: Iterable[str], complete: Callable[[str], Awaitable[object]]) -> int:
    """Complete each, and return how many there were; one that can't be completed stops none of the others.

    Raises:
        ConnectionFailure: at once; the database would refuse the others too.
        Exception: the first of the others', when all have had their turn.
    """
    done, failed = 0, list[Exception]()
    for each in ids:
        try:
            await complete(each)
            done += 1
        except ConnectionFailure:
            raise
        except Exception as error:  # noqa: BLE001  # raised below; whoever repeats this logs and counts it
            failed.append(error)
    if failed:
        raise failed[0]
    return done
