"""What Prometheus, Grafana and compose are given: valid, consistent with each other, about metrics that there are."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.settings import PREFIX, Settings
from tests.prometheus_tools import CONFIG, DASHBOARDS, ROOT, panel_queries, panels, tool
from tests.test_metrics_table import documented

GRAFANA = ROOT / "config" / "grafana"
NAME = re.compile(r"\bmktx_[a-z0-9_]+|\bmktx:[a-z0-9_:]+")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def rules(kind: str) -> list[dict[str, Any]]:
    groups = [group for path in sorted((CONFIG / "rules").glob("*.yml")) for group in read(path)["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as a browser of repositories makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def series() -> set[str]:
    """Return the names of all series that the program has, and those that rules record."""
    found = {rule["record"] for rule in rules("record")}
    for metric in documented():
        suffixes = ("_bucket", "_count", "_sum") if metric.type == "histogram" else ("",)
        found |= {metric.name + suffix for suffix in suffixes}
    return found


EXPRESSIONS = [
    *((rule.get("alert") or rule["record"], rule["expr"]) for kind in ("alert", "record") for rule in rules(kind)),
    *((f"{query.dashboard}: {query.panel}", query.expression) for query in panel_queries()),
]


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_only_series_that_there_are_are_asked_for(where: str, expression: str) -> None:
    named = set(NAME.findall(expression))
    assert named or expression == 'up{job="mktx"} == 0'
    assert named - series() == set()


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule["alert"])
def test_each_alert_leads_to_its_place_in_the_runbook(rule: dict[str, Any]) -> None:
    page, anchor = rule["annotations"]["runbook"].split("#")
    assert anchor == rule["alert"].lower()
    assert anchor in anchors((ROOT / page).read_text())
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"]


def test_the_runbook_has_nothing_that_nobody_is_led_to() -> None:
    headings = set(re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE))
    assert headings == {rule["alert"] for rule in rules("alert")}


def test_each_rule_has_a_unit_test_and_each_alert_one_in_which_it_keeps_quiet() -> None:
    tests = [test for path in (CONFIG / "tests").glob("*.yml") for test in read(path)["tests"]]
    alerts = [each for test in tests for each in test.get("alert_rule_test", ())]
    fire = {each["alertname"] for each in alerts if each["exp_alerts"]}
    quiet = {each["alertname"] for each in alerts if not each["exp_alerts"]}
    assert fire == quiet == {rule["alert"] for rule in rules("alert")}
    asked = " ".join(each["expr"] for test in tests for each in test.get("promql_expr_test", ()))
    assert set(NAME.findall(asked)) == {rule["record"] for rule in rules("record")}


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", str(CONFIG / "prometheus.yml")),
        ("check", "rules", *map(str, sorted((CONFIG / "rules").glob("*.yml")))),
        ("test", "rules", *map(str, sorted((CONFIG / "tests").glob("*.yml")))),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
async def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    process = await asyncio.create_subprocess_exec(
        tool("promtool"), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"SUCCESS" in output


# --- Grafana


@pytest.mark.parametrize("path", sorted(DASHBOARDS.glob("*.json")), ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    every = list(panels(dashboard))
    assert dashboard["uid"].startswith("mktx-")
    assert len({panel["id"] for panel in every}) == len(every)
    [source] = read(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    for panel in every:
        assert panel["title"]
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == source["uid"]


def test_dashboards_have_names_of_their_own() -> None:
    every = [json.loads(path.read_text()) for path in DASHBOARDS.glob("*.json")]
    assert len({each["uid"] for each in every}) == len({each["title"] for each in every}) == len(every) == 2


# --- compose


def compose() -> dict[str, Any]:
    return read(ROOT / "deploy" / "compose.yaml")["services"]


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Return what is mounted, by its place in the container."""
    parts = [volume.split(":") for volume in service["volumes"]]
    return {part[1]: part[0] for part in parts}


def container_port(service: dict[str, Any]) -> str:
    [port] = service["ports"]
    return port.rsplit(":", 1)[1]


def test_every_service_is_reached_where_others_look_for_it() -> None:
    services = compose()
    scraped = {job["job_name"]: job["static_configs"] for job in read(CONFIG / "prometheus.yml")["scrape_configs"]}
    assert scraped["mktx"] == [{"targets": [f"gateway:{container_port(services['gateway'])}"]}]
    assert scraped["prometheus"] == [{"targets": [f"localhost:{container_port(services['prometheus'])}"]}]
    [source] = read(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    assert source["url"] == f"http://prometheus:{container_port(services['prometheus'])}"
    uri = services["gateway"]["environment"]["MKTX_MONGODB_URI"]
    assert uri.startswith("mongodb://mongodb:27017/")
    assert uri.split("replicaSet=")[1] == services["mongodb"]["command"][1]
    assert "mongodb:27017" in services["mongodb"]["healthcheck"]["test"][-1]


def test_the_gateway_is_the_image_that_is_built_here() -> None:
    gateway = compose()["gateway"]
    dockerfile = (ROOT / "deploy" / gateway["build"] / "Dockerfile").read_text()
    port = container_port(gateway)
    assert f"EXPOSE {port}\n" in dockerfile
    assert str(Settings.model_fields["port"].default) == port
    assert mounts(gateway).keys() == set(re.findall(r"^VOLUME (\S+)$", dockerfile, re.MULTILINE))
    assert "MKTX_DATA_DIR=/data" in dockerfile
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert {name for name in gateway["environment"] if name.startswith(PREFIX)} <= known


def test_what_is_mounted_is_there_and_is_where_it_is_looked_for() -> None:
    services = compose()
    for name in ("prometheus", "grafana"):
        for source in mounts(services[name]).values():
            assert "/" not in source or (ROOT / "deploy" / source).is_dir(), source
    config = next(each for each in services["prometheus"]["command"] if each.startswith("--config.file="))
    folder, file = config.removeprefix("--config.file=").rsplit("/", 1)
    assert (ROOT / "deploy" / mounts(services["prometheus"])[folder] / file).is_file()
    [provider] = read(GRAFANA / "provisioning" / "dashboards" / "mktx.yml")["providers"]
    mounted = mounts(services["grafana"])[provider["options"]["path"]]
    assert (ROOT / "deploy" / mounted).resolve() == DASHBOARDS


def test_nothing_is_open_to_other_machines() -> None:
    ports = [port for service in compose().values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
