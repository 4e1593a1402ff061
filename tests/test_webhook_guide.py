"""The examples of docs/webhooks.md verify what is really sent."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from domain.webhook_attempts import PAUSES
from domain.webhook_signature import secret_of, signed_headers
from gateway.events.kinds import EVENTS

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = (DOCS / "webhooks.md").read_text()
SECRET, FORMER, OTHER = (secret_of(bytes([number]) * 32) for number in range(3))
BODY = '{"type":"message.created","data":{"content":"größer"}}'.encode()


def example(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return str(found)


def sent(at: datetime) -> dict[str, str]:
    return signed_headers([SECRET, FORMER], "an-id", at, BODY)


def test_the_python_example_tells_what_is_ours_from_what_is_not() -> None:
    names: dict[str, Any] = {}
    exec(example("python"), names)
    verify, headers = names["verify"], sent(datetime.now(UTC))
    assert verify(SECRET, headers, BODY) == verify(FORMER, headers, BODY) == "an-id"
    for secret, changed, body in [
        (OTHER, headers, BODY),
        (SECRET, headers, BODY + b" "),
        (SECRET, headers | {"webhook-id": "another"}, BODY),
        (SECRET, sent(datetime(2026, 1, 1, tzinfo=UTC)), BODY),
    ]:
        with pytest.raises(ValueError, match=r"too old|not signed"):
            verify(secret, changed, body)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
def test_the_node_example_tells_what_is_ours_from_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "verify.mjs").write_text(example("js"))
    (tmp_path / "run.mjs").write_text(
        'import { verify } from "./verify.mjs";\n'
        "const [secret, headers, body] = JSON.parse(process.argv[2]);\n"
        'try { console.log(verify(secret, headers, Buffer.from(body, "utf-8"))); }\n'
        "catch (error) { console.log(error.message); }\n"
    )

    def run(secret: str, headers: dict[str, str], body: bytes) -> str:
        given = orjson.dumps([secret, headers, body.decode()]).decode()
        command = ["node", str(tmp_path / "run.mjs"), given]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    headers = sent(datetime.now(UTC))
    assert run(SECRET, headers, BODY) == run(FORMER, headers, BODY) == "an-id"
    assert "not signed" in run(OTHER, headers, BODY)
    assert "not signed" in run(SECRET, headers, BODY + b" ")
    assert "too old" in run(SECRET, sent(datetime(2026, 1, 1, tzinfo=UTC)), BODY)


def test_the_guide_tells_the_schedule_as_it_is() -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    (told,) = re.findall(r"tried again after (.*?), each", GUIDE)
    seconds = [int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)\b", told)]
    assert seconds == [pause.total_seconds() for pause in PAUSES]


def test_every_event_is_in_the_table_that_the_guide_leads_to() -> None:
    table = (DOCS / "events.md").read_text()
    assert [event for event in EVENTS if f"`{event}`" not in table] == []
