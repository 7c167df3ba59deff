"""Ray's own parser takes the cluster launcher's files, and they agree with the rest."""

from __future__ import annotations

import re
import shlex

import jsonschema
import pytest
import yaml

from tests.cluster.checks import entrypoint_problem
from tests.cluster.manifests import ROOT, Object

FILES = ("aws", "gcp")


def text_of(cloud: str) -> str:
    return (ROOT / "cluster" / "autoscaler" / f"{cloud}.yaml").read_text()


def prepared(config: Object) -> Object:
    """As `ray up` does before it asks the cloud for anything."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(config)
    validate_config(config)
    return config


@pytest.mark.parametrize("cloud", FILES)
def test_ray_takes_it(cloud: str) -> None:
    config = prepared(yaml.safe_load(text_of(cloud)))
    types = config["available_node_types"]
    assert set(types) == {"head", "cpu", "gpu-train", "gpu-vllm"}
    assert types["head"]["resources"]["CPU"] == 0  # drivers only
    assert {name for name, node in types.items() if node["resources"].get("GPU")} == {
        "gpu-train",
        "gpu-vllm",
    }
    # Ray would fill in rules of its own for what is left out, with the dashboard on all interfaces.
    assert "0.0.0.0" not in str(config["head_start_ray_commands"])


def is_spot(node: Object) -> bool:
    config = node["node_config"]
    market = config.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
    return market or any(s.get("preemptible") for s in config.get("scheduling", []))


@pytest.mark.parametrize("cloud", FILES)
def test_what_can_be_taken_away_is_what_resumes(cloud: str) -> None:
    types = yaml.safe_load(text_of(cloud))["available_node_types"]
    assert {name for name, node in types.items() if is_spot(node)} == {"cpu", "gpu-train"}


@pytest.mark.parametrize("cloud", FILES)
def test_every_process_is_in_token_mode_with_one_token_file(cloud: str) -> None:
    config = yaml.safe_load(text_of(cloud))
    options = config["docker"]["run_options"]
    assert "-e RAY_AUTH_MODE=token" in options
    [path] = config["file_mounts"]
    assert f"-e RAY_AUTH_TOKEN_PATH={path}" in options
    starts = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    starts = [line for line in starts if "ray start" in line]
    assert len(starts) == 2 and all(line.startswith("RAY_AUTH_MODE=token ") for line in starts)


@pytest.mark.parametrize("cloud", FILES)
def test_the_command_it_shows_works(cloud: str) -> None:
    [command] = re.findall(r"^# +gestray (.*)$", text_of(cloud), re.MULTILINE)
    words = shlex.split(command)
    assert entrypoint_problem(f"python -m jobs.cli {command}") is None
    # Training looks at the GPUs the cluster has: as many must be there before it asks.
    workers = next(int(word.split("=")[1]) for word in words if word.startswith("workers="))
    types = yaml.safe_load(text_of(cloud))["available_node_types"]
    assert types["gpu-train"]["min_workers"] >= workers


def test_ray_refuses_a_wrong_key() -> None:
    config = yaml.safe_load(text_of("aws"))
    config["available_node_types"]["cpu"]["max_worker"] = 3
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        prepared(config)
