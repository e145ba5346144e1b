"""The Kubernetes manifests: valid to the API's own schemas, and as strict as the images allow."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from shared.settings import PREFIX, Settings
from tests.deploy.manifest import KUBERNETES, kustomizations, manifests, pods
from workers.cli.main import VERBS

OLDEST, NEWEST = "1.27", "1.33"
"""Versions of Kubernetes between which the manifests' APIs are stable."""
OTHERS = ("keda.sh", "kustomize.config.k8s.io", "monitoring.coreos.com")
"""API groups that are no part of Kubernetes itself."""


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize(("file", "document"), [pytest.param(*each, id=f"{each[0]}-{each[1]['kind']}") for each in manifests()])
def test_each_manifest_is_valid_to_the_schemas_of_kubernetes(file: str, document: dict[str, Any], version: str) -> None:
    if not document["apiVersion"].startswith(OTHERS):
        kubernetes_validate.validate(document, version, strict=True)


def test_each_file_is_listed_once_and_each_listed_file_is_there() -> None:
    listed = [path.parent / name for path, each in kustomizations().items() for name in each["resources"]]
    files = [path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml" and ".example." not in path.name]
    assert sorted(path.resolve() for path in listed if path.is_file()) == sorted(path.resolve() for path in files)
    assert all(path.exists() for path in listed)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl on this machine, so kustomize does not run")
def test_kustomize_builds_the_example() -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / "overlays/example")], capture_output=True, text=True, check=True, timeout=60
    )
    kinds = [document["kind"] for document in yaml.safe_load_all(built.stdout)]
    assert {"Deployment", "Job", "ScaledObject", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget"} <= set(kinds)
    assert "image: registry.example.com/headrace:0.1.0" in built.stdout


@pytest.mark.parametrize("name", pods())
def test_no_pod_is_root_or_writes_to_its_image_or_speaks_to_the_api_server(name: str) -> None:
    pod = pods()[name]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001, "the image's user"
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == wanted
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/run/headrace", "/run/metrics"}
    assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"])


@pytest.mark.parametrize("name", pods())
def test_every_pod_has_a_memory_limit_and_variables_that_are_settings(name: str) -> None:
    pod = pods()[name]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["memory"] == {"headrace-worker": "640Mi", "headrace-ingress": "512Mi"}.get(
        name, "256Mi"
    )
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert container["args"][0] in VERBS
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    assert {variable["name"] for variable in container["env"]} - known == set()
    assert pod["enableServiceLinks"] is False, "a Service's variables would be taken for settings"


def test_the_config_map_holds_settings_and_no_secret() -> None:
    (data,) = (each["data"] for _, each in manifests() if each["kind"] == "ConfigMap")
    assert data.keys() - {PREFIX + field.upper() for field in Settings.model_fields} == set()
    assert not any("://" in value or "password" in name.lower() for name, value in data.items())


def test_every_secret_that_is_asked_for_is_in_the_example() -> None:
    (secret,) = (each for _, each in manifests() if each["kind"] == "Secret")
    variables = [variable for pod in pods().values() for variable in pod["containers"][0]["env"]]
    asked = {variable["valueFrom"]["secretKeyRef"]["key"] for variable in variables if "valueFrom" in variable}
    assert asked == set(secret["stringData"])


def test_what_serves_is_probed_and_what_is_stopped_has_time_to_drain() -> None:
    for name, paths in {"ingress": ("/livez", "/readyz"), "worker": ("/livez", "/readyz")}.items():
        container = pods()[f"headrace-{name}"]["containers"][0]
        assert container["livenessProbe"]["httpGet"]["path"] == paths[0]
        assert container["readinessProbe"]["httpGet"]["path"] == paths[1]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert container["livenessProbe"]["httpGet"]["port"] in ports
    drain = Settings.model_fields["drain_seconds"].default
    for pod in pods().values():
        assert pod.get("terminationGracePeriodSeconds", 30) >= drain + 5


def test_selectors_find_their_pods() -> None:
    labels = [each["spec"]["template"]["metadata"]["labels"] for _, each in manifests() if "template" in each.get("spec", {})]
    for file, each in manifests():
        spec = each.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector", {}))
        selector = selector.get("matchLabels", selector)
        assert any(selector.items() <= those.items() for those in labels), f"{file}: {each['kind']} {selector}"


@pytest.mark.parametrize("file", ["keda/scaledobject.yaml", "autoscaler/scaledobject.yaml"])
def test_keda_scales_by_metrics_that_there_are_and_never_beyond_a_slot_a_lane(file: str) -> None:
    (scaled,) = (each["spec"] for name, each in manifests() if name == file)
    assert scaled["scaleTargetRef"]["name"] in pods()
    children = Settings.model_fields["worker_children"].default
    assert scaled["maxReplicaCount"] * children <= Settings.model_fields["lanes"].default
    assert 2 <= scaled["minReplicaCount"] < scaled["maxReplicaCount"]
    known = " ".join(path.read_text() for path in (Path(__file__).parents[2] / "shared").glob("*metrics.py"))
    queries = " ".join(trigger["metadata"]["query"] for trigger in scaled["triggers"])
    named = set(re.findall(r"headrace_\w+", queries))
    assert named
    assert [name for name in named if f'"{name}"' not in known] == []
    assert all(trigger["type"] == "prometheus" and float(trigger["metadata"]["threshold"]) > 0 for trigger in scaled["triggers"])


def test_the_autoscaler_and_keda_have_the_same_bounds() -> None:
    variables = {each["name"]: each.get("value") for each in pods()["headrace-autoscaler"]["containers"][0]["env"]}
    (scaled,) = (each["spec"] for name, each in manifests() if name == "autoscaler/scaledobject.yaml")
    bounds = [variables[f"HEADRACE_AUTOSCALER_WORKERS_{name}"] for name in ("MIN", "MAX")]
    assert bounds == [str(scaled["minReplicaCount"]), str(scaled["maxReplicaCount"])]
