"""examples/operate: rules, dashboard and manifests, checked by the programs that read them and by a real server.

promtool is Debian's package `prometheus`.
"""

import json
import os
import re
import shutil
import subprocess

import pytest
import yaml
from conftest import ROOT
from raw import eventually

OPERATE = ROOT / "examples" / "operate"
RULES = yaml.safe_load((OPERATE / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((OPERATE / "grafana.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
MANIFESTS = list(yaml.safe_load_all((OPERATE / "kubernetes.yaml").read_text(encoding="utf-8")))
INFERENCE = yaml.safe_load((OPERATE / "inference-service.yaml").read_text(encoding="utf-8"))
PROMTOOL = shutil.which("promtool")

promtool = pytest.mark.skipif(
    PROMTOOL is None and "AETOOL_HOSTS_REQUIRED" not in os.environ, reason="promtool is not installed"
)


def names_in(expression):
    """Metrics of an expression, as a server lists them: without the suffixes of counters and histograms."""
    found = re.findall(r"\b((?:aetool|process)_[a-z_]+)", re.sub(r'"[^"]*"', "", expression))
    labels = {"aetool_serve"}
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found} - labels


def test_every_metric_of_rules_and_dashboard_is_one_of_the_server(start, exported, rows, infer_body):
    with start(f"cancer={exported}", "--workers", "2") as server:
        server.wait_for("all workers serve")
        assert server.call("POST", "/v2/models/cancer/infer", infer_body(rows))[0] == 200
        assert eventually(lambda: b"aetool_feature_psi{" in server.call("GET", "/metrics")[2])
        page = server.call("GET", "/metrics")[2].decode()
    known = set(re.findall(r"^# TYPE (\S+)", page, re.M))
    asked = set().union(*map(names_in, [*QUERIES, *(rule["expr"] for rule in RULES)]))
    variables = {name for each in DASHBOARD["templating"]["list"] for name in names_in(json.dumps(each["query"]))}
    assert len(asked) > 20 and asked | variables <= known
    labels = {
        name: set(re.findall(r"(\w+)=", inside)) for name, inside in re.findall(r"^(\w+)\{(.*)\} ", page, re.M)
    }
    assert {"bundle", "version", "kind"} == labels["aetool_drift"]
    assert {"bundle", "version", "feature"} == labels["aetool_feature_psi"]
    assert {"model", "status"} == labels["aetool_requests_total"]


@promtool
def test_the_rules_are_valid_and_fire_when_they_should():
    for command in (
        ["check", "rules", "alerts.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "alerts_test.yml"],
    ):
        done = subprocess.run([PROMTOOL, *command], cwd=OPERATE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_the_dashboards_queries_are_valid(tmp_path):
    rules = [
        {"record": f"panel:query:{i}", "expr": re.sub(r"\$__rate_interval", "5m", query)}
        for i, query in enumerate(QUERIES)
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        [PROMTOOL, "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_says_what_is_wrong():
    tests = (OPERATE / "alerts_test.yml").read_text(encoding="utf-8")
    for rule in RULES:
        assert rule["alert"] in tests and rule["annotations"]["summary"] and rule["labels"]["severity"]


def test_the_dashboard_has_panels_that_do_not_overlap():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) and DASHBOARD["schemaVersion"] >= 36
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells


def test_the_manifests_fit_the_schema_of_kubernetes():
    from kubernetes_validate import validate

    for manifest in MANIFESTS:
        validate(manifest, "1.33", strict=True)
    predictor = dict(INFERENCE["spec"]["predictor"])  # a PodSpec, and KServe's own keys
    for own in ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "timeout"):
        predictor.pop(own)
    validate(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": predictor}, "1.33", strict=True
    )


def test_the_inference_service_has_what_kserve_requires():
    """KServe's schema is in no package: its required keys, by hand."""
    assert INFERENCE["apiVersion"] == "serving.kserve.io/v1beta1" and INFERENCE["kind"] == "InferenceService"
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", INFERENCE["metadata"]["name"])
    (container,) = INFERENCE["spec"]["predictor"]["containers"]
    assert container["name"] == "kserve-container"
    (port,) = container["ports"]
    assert port["protocol"] == "TCP" and f"--port={port['containerPort']}" in container["args"]


@pytest.mark.parametrize(
    "spec",
    [MANIFESTS[0]["spec"]["template"]["spec"], INFERENCE["spec"]["predictor"]],
    ids=["deployment", "kserve"],
)
def test_containers_are_probed_where_health_is_answered_and_limited(spec):
    (container,) = spec["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[name]["httpGet"]
        assert ports.get(asked["port"], asked["port"]) == 8001 and "--health-port=8001" in container["args"]
        assert asked["path"] == f"/v2/health/{'live' if name == 'livenessProbe' else 'ready'}"
    assert set(container["resources"]) == {"requests", "limits"}
    assert spec["terminationGracePeriodSeconds"] > 30 + 5


def test_the_options_in_the_manifests_and_the_unit_are_those_of_serve():
    from aetool.cli.commands.serve import serve

    known = {option for parameter in serve.params for option in parameter.opts}
    texts = [
        (OPERATE / name).read_text("utf-8")
        for name in ("aetool.service", "kubernetes.yaml", "inference-service.yaml")
    ]
    used = set().union(*(re.findall(r"(?<=[\s\[])--(?!from)[a-z][a-z-]+", text) for text in texts))
    assert len(used) >= 5 and used <= known | {"--grace"}


def test_the_unit_is_valid():
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        [analyze, "verify", str(OPERATE / "aetool.service")], capture_output=True, text=True, check=False
    )
    missing = "Command /opt/aetool/bin/aetool is not executable: No such file or directory"
    assert [line for line in done.stderr.splitlines() if missing not in line] == []
