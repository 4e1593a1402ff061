from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from pymongo.errors import ConnectionFailure, DocumentTooLarge

from storage.left_over import complete_each


def completing(errors: dict[str, Exception], completed: list[str]) -> Callable[[str], Awaitable[object]]:
    async def complete(each: str) -> None:
        if each in errors:
            raise errors[each]
        completed.append(each)

    return complete


async def test_each_has_its_turn_and_the_first_error_is_told() -> None:
    completed: list[str] = []
    first = DocumentTooLarge("a")
    with pytest.raises(DocumentTooLarge) as raised:
        await complete_each("abcd", completing({"a": first, "c": KeyError("c")}, completed))
    assert raised.value is first
    assert completed == ["b", "d"]
    assert await complete_each("xy", completing({}, completed)) == 2


async def test_without_a_database_nobody_else_is_tried() -> None:
    completed: list[str] = []
    with pytest.raises(ConnectionFailure):
        await complete_each("abc", completing({"b": ConnectionFailure()}, completed))
    assert completed == ["a"]
