from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field


def _stripped(name: str) -> str:
    name = name.strip()
    if not name:
        raise ValueError("must not be empty")
    return name


#: What people call something that a merchant has; unique among its kind.
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S"), AfterValidator(_stripped)]
