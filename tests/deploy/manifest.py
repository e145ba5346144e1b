"""The Kubernetes manifests and the compose file as data, for what the tests ask of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
COMPOSE = DEPLOY / "compose.yaml"


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every document that a kustomization lists, or that is an example beside one, by file."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            for document in yaml.safe_load_all(path.read_text()):
                yield path.relative_to(KUBERNETES).as_posix(), document


def kustomizations() -> dict[Path, dict[str, Any]]:
    """By file."""
    return {path: yaml.safe_load(path.read_text()) for path in sorted(KUBERNETES.rglob("kustomization.yaml"))}


def pods() -> dict[str, dict[str, Any]]:
    """The pod specifications of everything that makes pods, by the name of what makes them."""
    templates = ((each["metadata"]["name"], each["spec"].get("template")) for _, each in manifests() if "spec" in each)
    return {name: template["spec"] for name, template in templates if template}


def services() -> dict[str, dict[str, Any]]:
    """Of the compose file, merged as YAML merges."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found
