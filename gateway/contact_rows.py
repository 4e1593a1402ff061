"""Reads the rows of an import of contacts: CSV with a header, or a JSON object a line.

CSV columns: `twitterUserId` (required), `username`, `displayName`, `tags` (separated by `;` or `,`), `consent` (a
state), `consentSource` and `attributes.NAME`, in which numbers and `true` or `false` are read as such. An empty cell
is not given.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import orjson

from domain.contact_fields import AttributeValue, attribute_value
from domain.errors import InvalidContent, Problem
from gateway.models.contacts import ContactRow
from gateway.parsing import parse_body
from storage.contact_imports import RowResult

MOST_ROWS = 10_000
_PLAIN_COLUMNS = frozenset({"twitterUserId", "username", "displayName", "consent", "consentSource"})
_ATTRIBUTE = "attributes."


@dataclass(slots=True)
class Rows:
    """Rows that can be carried out, by number, and results of those that can't."""

    right: dict[int, ContactRow] = field(default_factory=dict)
    wrong: list[RowResult] = field(default_factory=list)


def read_rows(form: Literal["csv", "jsonl"], content: str) -> Rows:
    """Read the rows; the first is number 1. A wrong row, and a user who was in a row before, is a failed result.

    Raises:
        InvalidContent: when there are no rows, too many, or the header is wrong.
    """
    rows, seen = Rows(), dict[str, int]()
    text = content.removeprefix("\ufeff")
    for number, value in enumerate(_csv_rows(text) if form == "csv" else _json_rows(text), start=1):
        if number > MOST_ROWS:
            raise _wrong_content(f"has more than {MOST_ROWS} rows")
        try:
            row = parse_body(ContactRow, value)
        except InvalidContent as error:
            first = error.problems[0]
            rows.wrong.append(failed(number, first.field, first.reason))
            continue
        if (before := seen.setdefault(row.twitter_user_id, number)) != number:
            rows.wrong.append(failed(number, "twitterUserId", f"is in row {before} already"))
        else:
            rows.right[number] = row
    if not rows.right and not rows.wrong:
        raise _wrong_content("has no rows")
    return rows


def failed(row: int, field_name: str | None, reason: str) -> RowResult:
    """Return the result of a row that was not carried out."""
    return RowResult(row=row, status="failed", contactId=None, field=field_name, reason=reason)


def _json_rows(text: str) -> Iterator[object]:
    for line in text.split("\n"):
        if line.strip():
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError:
                yield None  # no object, which is what is wrong with it


def _csv_rows(text: str) -> Iterator[object]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_header(reader.fieldnames or ())
        for cells in reader:
            yield _row_of(cells)
    except csv.Error:
        raise _wrong_content(f"is no CSV from line {reader.line_num} on") from None


def _check_header(columns: Sequence[str]) -> None:
    if "twitterUserId" not in columns:
        raise _wrong_content("must begin with a header that has twitterUserId")
    known = {*_PLAIN_COLUMNS, "tags"}
    for column in columns:
        if column not in known and not column.startswith(_ATTRIBUTE):
            raise _wrong_content(f"has a column that is not known: {column[:64]}")
    if len(set(columns)) != len(columns):
        raise _wrong_content("has a column twice")


def _row_of(cells: Mapping[str | None, object]) -> object:
    row: dict[str, object] = {}
    attributes: dict[str, object] = {}
    for column, cell in cells.items():
        if column is None:
            return None  # more cells than columns
        if not isinstance(cell, str) or not cell.strip():
            continue
        if column == "tags":
            row["tags"] = [tag for tag in cell.replace(",", ";").split(";") if tag.strip()]
        elif column in _PLAIN_COLUMNS:
            row[column] = cell.strip()
        else:
            attributes[column.removeprefix(_ATTRIBUTE)] = _value_of(cell)
    return row | {"attributes": attributes}


def _value_of(cell: str) -> AttributeValue:
    """Return a cell as a number or boolean where it is written as JSON writes them, else as text."""
    try:
        value = orjson.loads(cell)
    except ValueError:
        return cell
    # A whole number of more than 64 bits is read as a float, which is not the same number.
    if isinstance(value, bool | int) or (isinstance(value, float) and not cell.strip("- ").isdigit()):
        try:
            return attribute_value(value)
        except ValueError:
            return cell
    return cell


def _wrong_content(reason: str) -> InvalidContent:
    return InvalidContent("The content can't be imported", problems=(Problem("content", reason),))
