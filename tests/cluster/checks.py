"""What manifests must agree on with each other and with the code, beyond their schemas.

Each check yields a sentence for each problem. Nothing here knows what the manifests hold: it
follows their references.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from dockerfile_parse import DockerfileParser
from ray.serve.schema import ServeDeploySchema
from typer.testing import CliRunner

from gestray.errors import UserError
from serving.library import Chosen
from tests.cluster.manifests import KUBERAY, ROOT, Object, cluster_specs, pod_templates

DOCKERFILE = ROOT / "cluster" / "image" / "Dockerfile"
#: What the S3 client itself reads; gestray's own names are looked for in its code.
AWS_VARIABLES = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"}
#: Read by Ray, transformers, Hugging Face and matplotlib, and by every Unix program.
OTHER_VARIABLES = {"RAY_USAGE_STATS_ENABLED", "TOKENIZERS_PARALLELISM", "HF_HOME", "MPLCONFIGDIR"}
OTHER_VARIABLES |= {"HOME"}
#: Names a function that Serve's proxy calls.
CALLED_BY_PROXY = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?")  # of a RayJob: DNS-1035, KubeRay's 47


def secret_catalog() -> dict[str, set[str]]:
    """Keys of every secret an operator is told to make, by name."""
    documents = yaml.safe_load_all((KUBERAY / "secrets.example.yaml").read_text())
    return {d["metadata"]["name"]: set(d["stringData"]) for d in documents}


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def reference_problems(objects: list[Object], known: list[Object]) -> Iterator[str]:
    """Secrets, config maps, accounts and classes that are named but not there."""
    there = {(o["kind"], o["metadata"]["name"]) for o in known}
    secrets = secret_catalog()
    for item in objects:
        where = f"{item['kind']} {item['metadata']['name']}"
        for key, value in _walk(item.get("spec", {})):
            if key in ("secretKeyRef", "secretRef", "imagePullSecrets", "secretName"):
                name = value["name"] if isinstance(value, dict) else value
                if name not in secrets:
                    yield f"{where}: secret {name} is not in secrets.example.yaml"
                elif key == "secretKeyRef" and value["key"] not in secrets[name]:
                    yield f"{where}: secret {name} has no key {value['key']}"
            if key == "configMapRef" and ("ConfigMap", value["name"]) not in there:
                yield f"{where}: no ConfigMap {value['name']}"
    for where, template in pod_templates(objects):
        spec = template["spec"]
        for kind, field in (
            ("ServiceAccount", "serviceAccountName"),
            ("PriorityClass", "priorityClassName"),
        ):
            if field in spec and (kind, spec[field]) not in there:
                yield f"{where}: no {kind} {spec[field]}"
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        volumes |= {"data"} if where.startswith("StatefulSet") else set()
        for container in spec["containers"]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{where}: no volume {mount['name']}"
    for job in (o for o in objects if o["kind"] == "RayJob"):
        wanted = job["spec"].get("clusterSelector", {}).get("ray.io/cluster")
        if wanted and ("RayCluster", wanted) not in there:
            yield f"RayJob {job['metadata']['name']}: no RayCluster {wanted}"


class _Reached(Exception):
    """The command line has checked its arguments and would now start to work."""


def entrypoint_problem(entrypoint: str) -> str | None:
    """Run a command line up to where it would start a stage; None if it gets there."""
    from jobs.cli import app

    words = shlex.split(entrypoint)
    if words[:2] != ["python", "-m"] or len(words) < 3:
        return f"entry point {entrypoint!r}: expected python -m MODULE …"
    try:
        found = importlib.util.find_spec(words[2])
    except ModuleNotFoundError:
        found = None
    if found is None:
        return f"entry point {entrypoint!r}: no module {words[2]}"
    if words[2] != "jobs.cli":
        return f"entry point {entrypoint!r}: {words[2]} is not the command line"

    def reached(*_: object, **__: object) -> None:
        raise _Reached

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.stages.choose_inputs", lambda *_: {})
        patch.setattr("jobs.stages.run_named", reached)
        patch.setattr("jobs.side_by_side.run_named", reached)
        patch.setenv("GESTRAY_STORE", "s3://bucket/store")
        result = CliRunner().invoke(app, words[3:])
    if isinstance(result.exception, _Reached):
        return None
    said = result.exception if isinstance(result.exception, UserError) else result.output.strip()
    return f"entry point {entrypoint!r}: {said or 'starts no stage'}"


def job_problems(objects: list[Object]) -> Iterator[str]:
    """Jobs that KubeRay or Kueue would refuse, or whose command line is wrong."""
    for job in (o for o in objects if o["kind"] == "RayJob"):
        where, spec = f"RayJob {job['metadata']['name']}", job["spec"]
        if not _NAME.fullmatch(job["metadata"]["name"]):
            yield f"{where}: not a name KubeRay takes"
        if ("clusterSelector" in spec) == ("rayClusterSpec" in spec):
            yield f"{where}: needs a cluster of its own or one to run on"
        if "kueue.x-k8s.io/queue-name" in job["metadata"].get("labels", {}):
            own = spec.get("rayClusterSpec", {})
            if not spec.get("shutdownAfterJobFinishes") or own.get("enableInTreeAutoscaling", True):
                yield f"{where}: Kueue takes only clusters of a fixed size that end with their job"
        if problem := entrypoint_problem(spec["entrypoint"]):
            yield f"{where}: {problem}"


def serve_problems(objects: list[Object]) -> Iterator[str]:
    """Services whose application Serve or the code would refuse, or that could not be upgraded."""
    for service in (o for o in objects if o["kind"] == "RayService"):
        where, spec = f"RayService {service['metadata']['name']}", service["spec"]
        upgrade, cluster = spec.get("upgradeStrategy", {}), spec["rayClusterConfig"]
        if upgrade.get("type") not in ("NewCluster", "NewClusterWithIncrementalUpgrade", "None"):
            yield f"{where}: KubeRay knows no upgradeStrategy {upgrade.get('type')}"
        if upgrade.get("type") == "NewClusterWithIncrementalUpgrade":
            if not cluster.get("enableInTreeAutoscaling"):
                yield f"{where}: an incremental upgrade needs the autoscaler"
            if "clusterUpgradeOptions" not in upgrade:
                yield f"{where}: an incremental upgrade needs clusterUpgradeOptions"
        try:
            schema = ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"]))
        except ValueError as error:
            yield f"{where}: serveConfigV2: {error}"
            continue
        served = [group["template"]["spec"] for group in cluster["workerGroupSpecs"]]
        for pod in served:
            ports = {p["containerPort"] for c in pod["containers"] for p in c.get("ports", [])}
            if schema.http_options.port not in ports:
                yield f"{where}: no container has port {schema.http_options.port}"
        for application in schema.applications:
            if problem := application_problem(application.import_path, application.args, served):
                yield f"{where}: {problem}"


def _exists(import_path: str) -> Any:
    """What is at MODULE:NAME; None if nothing is."""
    module, _, name = import_path.partition(":")
    try:
        return getattr(importlib.import_module(module), name, None)
    except (ImportError, ValueError):
        return None


def application_problem(import_path: str, args: Any, pods: list[Object]) -> str | None:
    """Why Serve could not build an application from its arguments on these pods."""
    if (build := _exists(import_path)) is None:
        return f"no {import_path}"
    try:
        # The store is the cluster's; what it holds is not the manifest's.
        with patch("serving.app.choose", return_value=Chosen({}, {})):
            build(args)
    except UserError as error:
        return str(error)
    folder, file = str(args.get("keys", "")).rpartition("/")[::2]
    for pod in pods:
        ports = {p["containerPort"] for c in pod["containers"] for p in c.get("ports", [])}
        if args.get("grpc_port") not in ports | {None}:
            return f"no container has port {args['grpc_port']}"
        secrets = {
            mount["mountPath"]: volume["secret"]["secretName"]
            for volume in pod["volumes"]
            if "secret" in volume
            for container in pod["containers"]
            for mount in container["volumeMounts"]
            if mount["name"] == volume["name"]
        }
        if file and file not in secret_catalog().get(secrets.get(folder, ""), set()):
            return f"no secret puts {file} at {folder}"
    return None


def port_problems(objects: list[Object]) -> Iterator[str]:
    """Ports that are let through or connected to, and that no container has."""
    pods = [template for _, template in pod_templates(objects)]
    ports = {
        port["containerPort"]
        for pod in pods
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
    }
    names = {
        port.get("name")
        for pod in pods
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
    }
    services = {
        o["metadata"]["name"]: {port["port"] for port in o["spec"]["ports"]}
        for o in objects
        if o["kind"] == "Service"
    }
    for item in objects:
        where = f"{item['kind']} {item['metadata']['name']}"
        for key, rules in _walk(item.get("spec", {})):
            if key in ("ingress", "ingressRules"):
                for rule in rules:
                    for port in rule.get("ports", []):
                        if port["port"] not in ports:
                            yield f"{where}: no container has port {port['port']}"
            if key == "ports" and item["kind"] == "Service":
                for port in rules:
                    if port.get("targetPort", port["port"]) not in ports | names:
                        yield f"{where}: no container has port {port['port']}"
            if key == "redisAddress" and "://" not in rules:
                host, _, port = rules.partition(":")
                if int(port) not in services.get(host, set()):
                    yield f"{where}: no Service {host} with port {port}"
        if item["kind"] == "PodMonitor":
            for endpoint in item["spec"]["podMetricsEndpoints"]:
                if endpoint["port"] not in names:
                    yield f"{where}: no container has a port named {endpoint['port']}"
        if item["kind"] in ("NetworkPolicy", "PodDisruptionBudget", "PodMonitor"):
            selector = item["spec"].get("podSelector") or item["spec"].get("selector") or {}
            wanted = selector.get("matchLabels", {}).items()
            if not any(wanted <= pod["metadata"]["labels"].items() for pod in pods):
                yield f"{where}: selects no pod"
        if item["kind"] == "PodDisruptionBudget" and not isinstance(
            item["spec"].get("minAvailable"), int
        ):
            yield f"{where}: pods of a RayCluster can only have minAvailable as a number"


def environment_problems(objects: list[Object]) -> Iterator[str]:
    """Variables nothing reads, and ones that KubeRay or the identity must set instead."""
    code = "".join(
        p.read_text() for f in ("gestray", "jobs", "serving") for p in (ROOT / f).rglob("*.py")
    )
    names: list[tuple[str, str]] = []
    for item in objects:
        if item["kind"] == "ConfigMap":
            names += [(f"ConfigMap {item['metadata']['name']}", name) for name in item["data"]]
    for where, template in pod_templates(objects):
        if where.startswith("StatefulSet"):
            continue
        for container in template["spec"]["containers"]:
            names += [(where, entry["name"]) for entry in container.get("env", [])]
            for entry in container.get("env", []):
                if entry["name"] == CALLED_BY_PROXY and not _exists(entry["value"]):
                    yield f"{where}: no {entry['value']}"
    for where, name in names:
        ours = name.startswith(("GESTRAY_", "AWS_"))
        if ours and name not in AWS_VARIABLES and f'"{name}"' not in code:
            yield f"{where}: nothing reads {name}"
        if not ours and name not in OTHER_VARIABLES | {CALLED_BY_PROXY}:
            yield f"{where}: {name} is not known"
    for name in secret_catalog().get("gestray-s3", set()) - AWS_VARIABLES:
        yield f"secrets.example.yaml: the S3 client does not read {name}"


def version_problems(objects: list[Object]) -> Iterator[str]:
    """Ray's version, the token mode and images, against pyproject.toml and the Dockerfile."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [ray] = [d.split("==")[1] for d in project["dependencies"] if d.startswith("ray[")]
    for spec in cluster_specs(objects):
        if spec.get("rayVersion") != ray:
            yield f"rayVersion {spec.get('rayVersion')}, but pyproject.toml pins {ray}"
        if spec.get("authOptions", {}).get("mode") != "token":
            yield "a RayCluster without authOptions.mode: token"
    images = {
        container["image"]
        for where, template in pod_templates(objects)
        for container in template["spec"]["containers"]
        if not where.startswith("StatefulSet")
    }
    if len(images) > 1:
        yield f"several images in one cluster: {', '.join(sorted(images))}"
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE.read_text(), re.MULTILINE))
    for image in images:
        tag = image.rpartition(":")[2]
        if tag != "dev" and tag.rpartition("-")[2] not in targets:
            yield f"image {image}: the Dockerfile has no target {tag.rpartition('-')[2]}"


def hardening_problems(objects: list[Object]) -> Iterator[str]:
    """Containers that could be root, write to their root, or gain rights."""
    parser = DockerfileParser(str(DOCKERFILE), cache_content=True)
    user = [line["value"] for line in parser.structure if line["instruction"] == "USER"][-1]
    containers = [
        (where, container)
        for where, template in pod_templates(objects)
        for container in template["spec"]["containers"]
    ]
    containers += [
        ("autoscaler", spec["autoscalerOptions"])
        for spec in cluster_specs(objects)
        if spec.get("enableInTreeAutoscaling")
    ]
    for where, container in containers:
        context = container.get("securityContext", {})
        wanted = {
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for key, value in wanted.items():
            if context.get(key) != value:
                yield f"{where}: securityContext.{key} is {context.get(key)}, expected {value}"
        runs_as = f"{context.get('runAsUser')}:{context.get('runAsGroup')}"
        if runs_as != user and not where.startswith("StatefulSet"):
            yield f"{where}: runs as another user than the image's, {user}"
        if "requests" not in container.get("resources", {}):
            yield f"{where}: requests nothing, which the quota refuses"


def quota_problems(objects: list[Object]) -> Iterator[str]:
    """A cluster that could never grow to its own maximum."""
    quotas = [o["spec"]["hard"] for o in objects if o["kind"] == "ResourceQuota"]
    for spec in cluster_specs(objects):
        groups = [(1, spec["headGroupSpec"])]
        groups += [(group["maxReplicas"], group) for group in spec["workerGroupSpecs"]]
        for quota in quotas:
            for resource in ("cpu", "memory", "nvidia.com/gpu"):
                wanted = sum(
                    count * quantity(container["resources"]["requests"].get(resource, "0"))
                    for count, group in groups
                    for container in group["template"]["spec"]["containers"]
                )
                if wanted > quantity(quota[f"requests.{resource}"]):
                    yield f"quota of {resource}: the cluster's maximum is {wanted:g}"


def quantity(text: str) -> float:
    """An amount of Kubernetes, such as ``500m`` or ``16Gi``, as a number."""
    units = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    for unit, factor in units.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)


def problems(objects: list[Object], known: list[Object]) -> list[str]:
    """All of the above. `known` is what exists in the namespace, `objects` included."""
    return [
        *reference_problems(objects, known),
        *job_problems(objects),
        *serve_problems(objects),
        *port_problems(known),
        *environment_problems(objects),
        *version_problems(objects),
        *hardening_problems(objects),
        *quota_problems(objects),
    ]
