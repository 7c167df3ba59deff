"""Jobs on a real head in token mode: success, the failing job's exit code, cancelling."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from cluster.local import LocalCluster, parse_node
from gestray.artifacts import open_artifact
from gestray.errors import UserError
from gestray.store import Folder
from jobs.submit import job_of

ROOT = Path(__file__).resolve().parents[2]


def pipeline(file: Path, takes: int, name: str = "synthetic") -> Path:
    stage = {"stage": "corpus.synth", "name": name, "config": {"takes": takes, "seconds": 10.0}}
    file.write_text(yaml.safe_dump({"stages": [stage]}))
    return file


def test_a_job_is_the_command_line_of_a_laptop(tmp_path):
    job = job_of("beat2", ["source=s3://a b/c", "size=paper"])
    assert job.entrypoint == "python -m jobs.cli run beat2 'source=s3://a b/c' size=paper"
    assert not job.files
    file = pipeline(tmp_path / "mine.yaml", 3)
    job = job_of(str(file), ["synthetic.takes=4"])
    assert job.entrypoint == "python -m jobs.cli run mine.yaml synthetic.takes=4"
    assert job.files == [file]
    sweep = tmp_path / "sweep.yaml"
    space = {"loop.learning_rate": {"loguniform": [1e-4, 1e-2]}}
    base = {"loop": {"validate_every": 10}}
    tree = {"stage": "tokenizer.train", "base": base, "space": space, "trials": 4}
    sweep.write_text(yaml.safe_dump(tree))
    assert job_of(str(sweep), []).entrypoint == "python -m jobs.cli sweep sweep.yaml"


def test_a_mistake_is_found_before_anything_is_sent(tmp_path):
    with pytest.raises(UserError, match="did you mean 'takes'"):
        job_of(str(pipeline(tmp_path / "p.yaml", 3)), ["synthetic.take=4"])


def test_no_cluster_is_said_so(gestray, monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    outcome = gestray("submit", pipeline(tmp_path / "p.yaml", 3))
    assert outcome.code == 1 and "give --address http://HEAD:8265" in outcome.err
    outcome = gestray("submit", "--status", "x", "--address", "http://127.0.0.1:1")
    assert outcome.code == 1 and "no job server answers" in outcome.err
    outcome = gestray("submit", "demo", "--cancel", "x")
    assert outcome.code == 1 and "expected one of" in outcome.err


Submit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def head() -> Iterator[LocalCluster]:
    """A head that takes jobs, and runs them itself."""
    # Its workers must not find the S3 server of other tests missing, nor another gestray.
    with LocalCluster([parse_node("head:CPU=4")], jobs=True) as cluster:
        yield cluster


def start(head: LocalCluster, *arguments: object, **changes: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", "submit", *map(str, arguments)],
        env={**kept, **head.environment, **changes},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def result(out: str) -> Mapping[str, Any]:
    import json

    return json.loads(out.splitlines()[-1])


def answered(url: str, token: str | None) -> int:
    """The status that a request with a token, or without one, is answered with."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers)).status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.ray
def test_strangers_are_refused_by_cluster_dashboard_and_job_server(head):
    token = head.token_file.read_text()
    paths = [
        "/api/jobs/",
        "/api/version",
        "/nodes?view=summary",
        "/api/cluster_status",
        "/logical/actors",
    ]
    for path in paths:
        url = f"{head.job_server}{path}"
        assert answered(url, None) == 401, path
        assert answered(url, "0" * 64) == 403, path
        assert answered(url, token) == 200, path
    code = "import ray; ray.init(logging_level='ERROR')"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    kept["RAY_ADDRESS"] = head.address
    strangers = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=kept | guise, stderr=subprocess.PIPE, text=True
        )
        for guise in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "0" * 64})
    ]
    for stranger in strangers:
        _, err = stranger.communicate(timeout=120)
        assert stranger.returncode != 0 and "token" in err.lower()


@pytest.mark.ray
def test_what_we_open_ourselves_is_open_to_this_machine_alone(head):
    """The dashboard with its job server; Ray's own ports listen everywhere, behind the token."""
    process = psutil.Process(head.pid("head"))
    family = [process, *process.children(recursive=True)]
    listening = {
        connection.laddr
        for member in family
        for connection in member.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    ours = int(head.job_server.rsplit(":", 1)[1])
    assert {address.ip for address in listening if address.port == ours} == {"127.0.0.1"}


@pytest.mark.ray
def test_jobs_succeed_fail_and_are_cancelled(head, tmp_path):
    store = tmp_path / "store"
    python = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"
    common = ("--code", "--env", python, "--json")

    good = start(head, pipeline(tmp_path / "good.yaml", 2), f"store={store}", *common)
    # Its second stage is given a folder that is none: known only when it runs.
    tree = yaml.safe_load(pipeline(tmp_path / "bad.yaml", 2).read_text())
    tree["stages"] = [
        {"stage": "ingest.beat2", "name": "takes", "config": {"source": str(tmp_path / "nothing")}}
    ]
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(tree))
    bad = start(head, tmp_path / "bad.yaml", f"store={store}", *common)

    code, out, err = ended(good)
    assert code == 0, err
    assert result(out)["status"] == "SUCCEEDED" and result(out)["exit_code"] == 0
    assert "corpus.synth" in err  # the job's own log
    (made,) = Folder(str(store)).list("corpus")
    assert open_artifact(Folder(str(store)).child(made)).manifest.rows_out == 2

    code, out, err = ended(bad)
    assert code == result(out)["exit_code"] == 1
    assert result(out)["status"] == "FAILED"
    assert "nothing" in err and "error:" in err

    long = pipeline(tmp_path / "long.yaml", 5000, "long")
    code, out, err = ended(start(head, long, f"store={store}", "--no-wait", *common))
    assert code == 0, err
    job = result(out)["job"]
    following = start(head, "--follow", job)
    code, out, _ = ended(start(head, "--cancel", job, "--json"))
    assert (code, result(out)["status"]) == (0, "STOPPED")
    assert ended(following)[0] == 130
    code, out, _ = ended(start(head, "--status", job, "--json"))
    assert result(out)["exit_code"] == 130 and result(out)["entrypoint"].endswith(f"store={store}")

    stranger = start(head, "--status", job, RAY_AUTH_TOKEN="0" * 64, RAY_AUTH_TOKEN_PATH="")
    unknown = start(head, "--status", "raysubmit_none")
    code, _, err = ended(stranger)
    assert code == 1 and "no job server answers there as it should" in err
    code, _, err = ended(unknown)
    assert code == 1 and "knows none of this id" in err
