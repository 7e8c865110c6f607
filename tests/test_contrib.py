"""The dashboard and the alert rules: their names exist in /metrics, and Prometheus accepts them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_args

import msgspec
import promql_parser
import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from lib import errors
from lib.feedback import FeedbackRequest
from tests.api import Api, serving
from tests.conftest import MakeSettings
from tests.handbook import ROOT, anchors, block
from tests.upstream import Status, Upstream

CONTRIB = ROOT / "contrib"
DASHBOARD = json.loads((CONTRIB / "grafana/quire.json").read_text(encoding="utf-8"))
RULES_FILE = CONTRIB / "prometheus/quire-alerts.yml"
RULES = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))["groups"][0]["rules"]
ALERTS = {rule["alert"]: rule for rule in RULES}
ALERT_TESTS = ROOT / "tests/quire-alerts.test.yml"
OPERATIONS = (ROOT / "book_content/operations.md").read_text(encoding="utf-8")

TARGET_LABELS = {"job", "instance"}
"""Labels that Prometheus adds to every metric of a target, and to its own metric `up`."""
VARIABLES = {"$__rate_interval": "5m", "$__range": "1d", "$instance": ".*"}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression with its place; Grafana's variables are replaced."""
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            assert "$" not in expression
            yield f"{panel['title']} {target['refId']}", expression
    for name, rule in ALERTS.items():
        yield name, rule["expr"]


EXPRESSIONS = dict(expressions())


@dataclass(frozen=True)
class Use:
    """A metric in an expression, with the calls and aggregations around it, outermost first."""

    selector: promql_parser.VectorSelector
    is_range: bool
    calls: tuple[str, ...] = ()
    by: tuple[frozenset[str], ...] = ()

    @property
    def name(self) -> str:
        return str(self.selector.name)


def uses(node: promql_parser.Expr, calls: tuple[str, ...] = (), by: Any = ()) -> Iterator[Use]:
    match node:
        case promql_parser.VectorSelector():
            yield Use(node, False, calls, by)
        case promql_parser.MatrixSelector():
            yield Use(node.vector_selector, True, calls, by)
        case promql_parser.Call():
            for each in node.args:
                yield from uses(each, (*calls, node.func.name), by)
        case promql_parser.AggregateExpr():
            assert node.modifier is None or node.modifier.type == promql_parser.AggModifierType.By
            labels = frozenset(node.modifier.labels if node.modifier else ())
            yield from uses(node.expr, calls, (*by, labels))
        case promql_parser.BinaryExpr():
            yield from uses(node.lhs, calls, by)
            yield from uses(node.rhs, calls, by)
        case promql_parser.ParenExpr() | promql_parser.SubqueryExpr() | promql_parser.UnaryExpr():
            yield from uses(node.expr, calls, by)
        case _:
            assert isinstance(node, promql_parser.NumberLiteral | promql_parser.StringLiteral)


@cache
def uses_of(place: str) -> list[Use]:
    return list(uses(promql_parser.parse(EXPRESSIONS[place])))


async def exported(api: Api) -> dict[str, Metric]:
    text = (await api.as_admin("GET", "/metrics")).text
    return {each.name: each for each in text_string_to_metric_families(text)}


async def use_everything(api: Api, upstream: Upstream) -> None:
    """Questions of every mode, a vote, a search, errors and an ingestion."""
    answered = await api.ask("When does the tide turn?", stream=True)
    await api.ask("When does the tide turn?", stream=True, session_id="another")
    await api.ask("Hello")
    await api.ask("Who won the football world cup in Brazil?")
    (done,) = (event for event in answered.events() if event["type"] == "done")
    for vote, reason in (("up", None), ("down", "wrong")):
        answer = {"answer_id": done["answer_id"], "vote": vote, "reason": reason}
        await api.post("/feedback", answer)
    await api.get("/search?q=tide")
    await api.get("/no-such-page")
    upstream.replies.append(Status(500))
    await api.ask("How many fenders does a boat need?")
    await api.ingest(force_reindex=True)


@pytest.fixture
async def metrics(
    make_settings: MakeSettings, own_index: Path, upstream: Upstream
) -> dict[str, Metric]:
    """All metrics of a server that has done everything."""
    settings = make_settings(
        qdrant_path=own_index,
        openai_base_url=upstream.base_url,
        embedding_provider="local",
        question_log=30,
        daily_usd=1.0,
    )
    async with serving(settings) as api:
        await use_everything(api, upstream)
        return await exported(api)


def sample_labels(metrics: dict[str, Metric]) -> dict[str, list[dict[str, str]]]:
    """The labels of every series by its name, such as `quire_chat_seconds_bucket`."""
    found: dict[str, list[dict[str, str]]] = {}
    for metric in metrics.values():
        for sample in metric.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


async def test_every_metric_and_label_is_exported(metrics: dict[str, Metric]) -> None:
    series = sample_labels(metrics)
    for place in EXPRESSIONS:
        for use in uses_of(place):
            if use.name == "up":
                continue
            assert use.name in series, place
            known = TARGET_LABELS.union(*series[use.name])
            for matcher in use.selector.matchers.matchers:
                assert matcher.name in known, f"{place}: {use.name}"
            # An aggregation can only keep the labels that inner aggregations have kept.
            for labels in reversed(use.by):
                assert labels <= known, f"{place}: {use.name}"
                known = set(labels)
    assert len(EXPRESSIONS) > 50


CODES = {code for each in vars(errors).values() if (code := getattr(each, "code", None))}


async def test_every_matched_value_can_occur(metrics: dict[str, Metric], api: Api) -> None:
    """A value that is matched by mistake would leave a panel empty."""
    possible: dict[str, set[str]] = {
        "code": CODES,
        "route": {rule.rule for rule in api.app.url_map.iter_rules()},
        "status": {str(int(status)) for status in HTTPStatus},
        "instance": {"127.0.0.1:7860"},
        "job": {"quire"},
    }
    series = sample_labels(metrics)
    for place in EXPRESSIONS:
        for use in uses_of(place):
            for matcher in use.selector.matchers.matchers:
                values = possible.get(matcher.name) or {
                    labels[matcher.name] for labels in series[use.name]
                }
                for value in matcher.value.split("|"):
                    assert any(re.fullmatch(value, each) for each in values), f"{place}: {value}"


async def test_votes_tokens_and_failures_begin_with_zero(api: Api) -> None:
    """A series that begins with 1 did not increase, so its first event would be missed."""
    started = await exported(api)
    votes = [each.labels for each in started["quire_votes"].samples]
    fields = {each.name: each.type for each in msgspec.structs.fields(FeedbackRequest)}
    reasons, *_ = get_args(fields["reason"])
    assert votes == [
        {"vote": vote, "reason": reason}
        for vote in get_args(fields["vote"])
        for reason in ("none", *get_args(reasons))
    ]
    assert {each.labels["code"] for each in started["quire_failures"].samples} >= CODES
    for name in ("quire_votes", "quire_failures", "quire_tokens"):
        assert {each.value for each in started[name].samples} == {0}


async def test_the_rule_for_errors_names_all_errors_of_the_server() -> None:
    """Without those that no reader gets, or that a shutdown explains."""
    (selector, *_) = (use.selector for use in uses_of("QuireErrors"))
    (codes,) = (each.value for each in selector.matchers.matchers if each.name == "code")
    errors_of_server = {
        each.code
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.QuireError) and each.status >= 500
    }
    assert set(codes.split("|")) == errors_of_server - {"STOPPING", "LOG_UNAVAILABLE"}
    assert f'code=~"{codes}"' in EXPRESSIONS["Failed requests A"]


async def test_functions_fit_the_types_of_metrics(metrics: dict[str, Metric]) -> None:
    """Counters and histograms are used as rates, gauges are not."""
    series = {sample.name: each for each in metrics.values() for sample in each.samples}
    rates = {"rate", "increase"}
    for place in EXPRESSIONS:
        for use in uses_of(place):
            kind = series[use.name].type if use.name != "up" else "gauge"
            if kind in ("counter", "histogram"):
                assert use.is_range, place
                assert use.calls[-1] in rates, place
            else:
                assert not rates & {*use.calls}, place
            if "histogram_quantile" in use.calls:
                assert use.name.endswith("_bucket"), place
                assert "le" in use.by[-1], place
            else:
                assert not use.name.endswith("_bucket"), place


async def test_the_handbook_lists_every_metric(metrics: dict[str, Metric]) -> None:
    named = set(re.findall(r"`((?:quire|process)_\w+)`", OPERATIONS))
    exported = set(metrics) | set(sample_labels(metrics))
    assert named <= exported
    short = set(re.findall(r"`(_\w+)`", OPERATIONS))
    for name in metrics:
        if metrics[name].type == "counter":
            name += "_total"
        shortened = {
            name[at.start() :]
            for at in re.finditer("_", name)
            if any(each.startswith(name[: at.start()]) for each in named)
        }
        if name.startswith("quire_") and name != "quire_info":
            assert name in named or shortened & short, name


@pytest.mark.parametrize("alert", ALERTS.values(), ids=list(ALERTS))
def test_an_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert {"summary", "description", "handbook"} == set(alert["annotations"])
    page, _, anchor = alert["annotations"]["handbook"].partition("#")
    assert anchor in anchors(ROOT / page)
    assert f"`{alert['alert']}`" in OPERATIONS


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """It has no id of one installation, and the variables choose the data source and servers."""
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] == 39  # Grafana 11; later versions migrate it
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "instance"}
    assert variables["datasource"]["query"] == "prometheus"
    own = {"type": "prometheus", "uid": "${datasource}"}
    assert variables["instance"]["datasource"] == own
    for panel in panels():
        assert panel["datasource"] == own
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert target["datasource"] == own
            assert 'instance=~"$instance"' in target["expr"]
    assert "__inputs" not in DASHBOARD


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_handbook_shows_the_scrape_configuration() -> None:
    shown = yaml.safe_load(block("operations.md", "Prometheus metrics", "yaml"))
    whole = yaml.safe_load((CONTRIB / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    assert shown["scrape_configs"] == whole["scrape_configs"]
    assert whole["rule_files"] == [RULES_FILE.name]


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    cases = yaml.safe_load(ALERT_TESTS.read_text(encoding="utf-8"))["tests"]
    fires = {
        check["alertname"]
        for case in cases
        for check in case.get("alert_rule_test", ())
        if check["exp_alerts"]
    }
    assert fires == set(ALERTS)


needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed"
)


def promtool(*command: str | Path) -> None:
    done = subprocess.run(("promtool", *command), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_accepts_the_files() -> None:
    promtool("check", "rules", RULES_FILE)
    promtool("check", "config", "--syntax-only", CONTRIB / "prometheus/prometheus.yml")
    promtool("test", "rules", ALERT_TESTS)


@needs_promtool
def test_prometheus_accepts_the_dashboard(tmp_path: Path) -> None:
    """As rules that record its expressions."""
    rules = [
        {"record": f"panel_{number}", "expr": expression}
        for number, expression in enumerate(EXPRESSIONS.values())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", file)
