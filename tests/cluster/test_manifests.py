"""Manifests satisfy KubeRay, Kubernetes, each other and the code; and would be caught if not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cluster.checks import entrypoint_problem, problems, quantity, secret_catalog
from tests.cluster.manifests import Object, named, render, schema_problems

OVERLAYS = ("overlays/dev", "overlays/gpu", "overlays/prod")
PIPELINES = ("pipeline/dev", "pipeline/gpu", "pipeline/prod")
SERVICES = ("serving/dev", "serving/prod")


def known_to(folder: str, objects: list[Object]) -> list[Object]:
    """What exists when a folder is applied: stages run on a cluster that is there already."""
    return objects + render("overlays/gpu") if folder == "jobs" else objects


@pytest.mark.parametrize("folder", [*OVERLAYS, *PIPELINES, *SERVICES, "jobs"])
def test_every_object_is_what_the_api_server_takes(folder: str) -> None:
    assert [problem for item in render(folder) for problem in schema_problems(item)] == []


@pytest.mark.parametrize("folder", [*OVERLAYS, *PIPELINES, *SERVICES, "jobs"])
def test_manifests_agree_with_each_other_and_with_the_code(folder: str) -> None:
    objects = render(folder)
    assert problems(objects, known_to(folder, objects)) == []


@pytest.mark.parametrize("folder", PIPELINES)
def test_a_pipeline_brings_the_cluster_of_its_overlay(folder: str) -> None:
    objects = render(folder)
    own = named(objects, "RayJob", "pipeline")["spec"]["rayClusterSpec"]
    cluster = named(render(folder.replace("pipeline", "overlays")), "RayCluster", "gestray")["spec"]
    assert not [o for o in objects if o["kind"] == "RayCluster"]
    assert own["headGroupSpec"] == cluster["headGroupSpec"]
    assert [g["template"] for g in own["workerGroupSpecs"]] == [
        g["template"] for g in cluster["workerGroupSpecs"]
    ]


def test_every_stage_but_the_comparison_has_a_job() -> None:
    from jobs.pipeline import load_pipeline

    stages = {stage.stage for stage in load_pipeline("beat2", []).stages}
    jobs = {job["metadata"]["labels"]["gestray.io/stage"] for job in render("jobs")}
    assert stages - jobs == {"evaluate.retrieval"}  # needs URIs of embeddings: stages.yaml says so


def test_every_secret_an_operator_makes_is_used() -> None:
    text = str(render("overlays/gpu")) + str(render("serving/prod"))
    assert [name for name in secret_catalog() if f"'{name}'" not in text] == []


def wrong_key(objects: list[Object]) -> None:
    cluster = named(objects, "RayCluster", "gestray")
    cluster["spec"]["workerGroupSpecs"][0]["maxReplica"] = 3


def wrong_key_of_a_pod(objects: list[Object]) -> None:
    cluster = named(objects, "RayCluster", "gestray")
    cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always"


def wrong_key_of_kubernetes(objects: list[Object]) -> None:
    named(objects, "PodDisruptionBudget", "gestray-head")["spec"]["minAvailble"] = 1


def wrong_value(objects: list[Object]) -> None:
    named(objects, "RayCluster", "gestray")["spec"]["authOptions"]["mode"] = "tokens"


@pytest.mark.parametrize(
    ("mutation", "said"),
    [
        (wrong_key, "'maxReplica' was unexpected"),
        (wrong_key_of_a_pod, "'imagePolicy' was unexpected"),
        (wrong_key_of_kubernetes, "'minAvailble' was unexpected"),
        (wrong_value, "'tokens' is not one of"),
    ],
)
def test_schemas_refuse(mutation: Callable[[list[Object]], None], said: str) -> None:
    objects = render("overlays/gpu")
    mutation(objects)
    [problem] = [problem for item in objects for problem in schema_problems(item)]
    assert said in problem


def _container(objects: list[Object]) -> Object:
    cluster = named(objects, "RayCluster", "gestray")["spec"]
    return cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]


def missing_secret(objects: list[Object]) -> None:
    _container(objects)["envFrom"].append({"secretRef": {"name": "gestray-hub"}})


def missing_key_of_a_secret(objects: list[Object]) -> None:
    options = named(objects, "RayCluster", "gestray")["spec"]["gcsFaultToleranceOptions"]
    options["redisPassword"]["valueFrom"]["secretKeyRef"]["key"] = "pass"


def missing_account(objects: list[Object]) -> None:
    objects.remove(named(objects, "ServiceAccount", "gestray"))


def missing_class(objects: list[Object]) -> None:
    objects.remove(named(objects, "PriorityClass", "gestray-worker"))


def other_ray(objects: list[Object]) -> None:
    named(objects, "RayCluster", "gestray")["spec"]["rayVersion"] = "2.59.0"


def no_token(objects: list[Object]) -> None:
    del named(objects, "RayCluster", "gestray")["spec"]["authOptions"]


def other_image(objects: list[Object]) -> None:
    _container(objects)["image"] = "registry.example.com/gestray:0.1.0-rocm"


def writable_root(objects: list[Object]) -> None:
    _container(objects)["securityContext"]["readOnlyRootFilesystem"] = False


def other_user(objects: list[Object]) -> None:
    _container(objects)["securityContext"]["runAsUser"] = 1001


def unread_variable(objects: list[Object]) -> None:
    named(objects, "ConfigMap", "gestray-settings")["data"]["GESTRAY_STORES"] = "s3://b"


def closed_port(objects: list[Object]) -> None:
    policy = named(objects, "NetworkPolicy", "gestray-submit")
    policy["spec"]["ingress"][0]["ports"][0]["port"] = 8266


def other_redis(objects: list[Object]) -> None:
    options = named(objects, "RayCluster", "gestray")["spec"]["gcsFaultToleranceOptions"]
    options["redisAddress"] = "redis:6380"


def budget_for_no_pod(objects: list[Object]) -> None:
    selector = named(objects, "PodDisruptionBudget", "gestray-head")["spec"]["selector"]
    selector["matchLabels"]["app.kubernetes.io/component"] = "heads"


def too_many_workers(objects: list[Object]) -> None:
    named(objects, "RayCluster", "gestray")["spec"]["workerGroupSpecs"][0]["maxReplicas"] = 400


@pytest.mark.parametrize(
    ("mutation", "said"),
    [
        (missing_secret, "secret gestray-hub is not in secrets.example.yaml"),
        (missing_key_of_a_secret, "has no key pass"),
        (missing_account, "no ServiceAccount gestray"),
        (missing_class, "no PriorityClass gestray-worker"),
        (other_ray, "rayVersion 2.59.0"),
        (no_token, "without authOptions.mode: token"),
        (other_image, "no target rocm"),
        (writable_root, "readOnlyRootFilesystem is False"),
        (other_user, "another user than the image's"),
        (unread_variable, "nothing reads GESTRAY_STORES"),
        (closed_port, "no container has port 8266"),
        (other_redis, "no Service redis with port 6380"),
        (budget_for_no_pod, "selects no pod"),
        (too_many_workers, "quota of cpu"),
    ],
)
def test_disagreement_is_found(mutation: Callable[[list[Object]], None], said: str) -> None:
    objects = render("overlays/gpu")
    mutation(objects)
    assert any(said in problem for problem in problems(objects, objects))


def service(objects: list[Object]) -> Object:
    return named(objects, "RayService", "gestray")["spec"]


def wrong_key_of_a_service(objects: list[Object]) -> None:
    service(objects)["upgradeStrategy"]["clusterUpgradeOptions"]["stepSize"] = 10


def test_schemas_refuse_a_wrong_key_of_a_service() -> None:
    objects = render("serving/prod")
    wrong_key_of_a_service(objects)
    [problem] = [problem for item in objects for problem in schema_problems(item)]
    assert "'stepSize' was unexpected" in problem


def replaced(old: str, new: str) -> Callable[[list[Object]], None]:
    """A mutation of what Serve is told."""

    def mutation(objects: list[Object]) -> None:
        before = service(objects)["serveConfigV2"]
        assert old in before
        service(objects)["serveConfigV2"] = before.replace(old, new)

    return mutation


def no_keys_are_mounted(objects: list[Object]) -> None:
    pod = service(objects)["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]
    pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] != "keys"]


def unknown_keys(objects: list[Object]) -> None:
    pod = service(objects)["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]
    [keys] = [volume for volume in pod["volumes"] if volume["name"] == "keys"]
    keys["secret"]["secretName"] = "gestray-key"


def grpc_elsewhere(objects: list[Object]) -> None:
    named(objects, "Service", "gestray-grpc")["spec"]["ports"][0]["port"] = 8004


def no_such_callback(objects: list[Object]) -> None:
    pod = service(objects)["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]
    pod["containers"][0]["env"][-1]["value"] = "serving.front:before_serving"


def no_autoscaler(objects: list[Object]) -> None:
    service(objects)["rayClusterConfig"]["enableInTreeAutoscaling"] = False


def no_such_strategy(objects: list[Object]) -> None:
    service(objects)["upgradeStrategy"]["type"] = "RollingUpdate"


def monitor_of_no_port(objects: list[Object]) -> None:
    named(objects, "PodMonitor", "gestray")["spec"]["podMetricsEndpoints"][0]["port"] = "metric"


def budget_for_no_replica(objects: list[Object]) -> None:
    selector = named(objects, "PodDisruptionBudget", "gestray-serving")["spec"]["selector"]
    selector["matchLabels"]["app.kubernetes.io/component"] = "server"


@pytest.mark.parametrize(
    ("mutation", "said"),
    [
        (replaced("serving.app:build", "serving.app:builds"), "no serving.app:builds"),
        (replaced("serving.app:build", "serving.apps:build"), "no serving.apps:build"),
        (replaced("keys: /secrets/keys.json", ""), "there are no API keys"),
        (replaced("max_replicas", "max_replica"), "did you mean 'max_replicas'"),
        (replaced("port: 8000", "port: 8002"), "no container has port 8002"),
        (replaced("grpc_port: 8001", "grpc_port: 8003"), "no container has port 8003"),
        (grpc_elsewhere, "Service gestray-grpc: no container has port 8004"),
        (no_such_callback, "no serving.front:before_serving"),
        (replaced("proxy_location: EveryNode", "proxy_location: Everywhere"), "serveConfigV2"),
        (no_keys_are_mounted, "no volume keys"),
        (unknown_keys, "secret gestray-key is not in secrets.example.yaml"),
        (no_autoscaler, "needs the autoscaler"),
        (no_such_strategy, "knows no upgradeStrategy RollingUpdate"),
        (monitor_of_no_port, "no container has a port named metric"),
        (budget_for_no_replica, "PodDisruptionBudget gestray-serving: selects no pod"),
    ],
)
def test_a_service_that_would_not_serve_is_found(
    mutation: Callable[[list[Object]], None], said: str
) -> None:
    objects = render("serving/prod")
    mutation(objects)
    assert any(said in problem for problem in problems(objects, objects))


@pytest.mark.parametrize(
    ("entrypoint", "said"),
    [
        ("python -m jobs.command run demo", "is not the command line"),
        ("python -m jobs.nothing run demo", "no module jobs.nothing"),
        ("gestray run demo", "expected python -m MODULE"),
        ("python -m jobs.cli runs demo", "No such command"),
        ("python -m jobs.cli run demos", "found no such file"),
        ("python -m jobs.cli run beat2 sources=s3://b/c", "nothing is called so"),
        ("python -m jobs.cli tokenizer train loop.compute.worker=2", "loop.compute.worker"),
        ("python -m jobs.cli encoder embed --presets sma", "No such option"),
        ("python -m jobs.cli models get minilm --help", "Usage"),
    ],
)
def test_an_entry_point_that_does_not_exist_is_found(entrypoint: str, said: str) -> None:
    assert said in (entrypoint_problem(entrypoint) or "")


def test_quantities() -> None:
    assert [quantity(q) for q in ("2", "500m", "1Ki", "3Gi")] == [2.0, 0.5, 1024.0, 3 * 2.0**30]
