"""The Ray cluster a job runs on: the one `RAY_ADDRESS` names, or a local one for its time."""

from __future__ import annotations

import atexit
import os
from typing import Any

# A local cluster declares more CPUs than most laptops have. Ray counts
# processes with them, and a pipeline has several that mostly wait: trainers,
# readers, the four stages of a vLLM processor. With two CPUs these wait for
# each other for ever; the cores are shared fairly all the same.
LOGICAL_CPUS = 16
OBJECT_STORE_BYTES = 1_500_000_000

# Read when Ray is imported, so set before; what the user has set stays.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray warns of every worker beyond a few per core, which is what `LOGICAL_CPUS` means.
    "RAY_worker_maximum_startup_concurrency": "4",
    # A tokenizer's thread pool does not survive the fork of a worker.
    "TOKENIZERS_PARALLELISM": "false",
    # Serve's proxy waits for a head as long as a client likes, and refuses as fast as one asks.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serving.front:before_serve",
}


def runs_here(processes: int) -> bool:
    """Whether work for so many processes is done in this one: for one, where no cluster is named.

    It would gain nothing from a local cluster, which takes seconds to start.
    """
    return processes == 1 and not os.environ.get("RAY_ADDRESS")


def at_once(processes: int) -> int:
    """How many of so many processes really work at the same time.

    A local cluster declares more CPUs than there are.
    """
    if os.environ.get("RAY_ADDRESS"):
        return processes
    from jobs.side_by_side import usable_cores

    return min(processes, usable_cores())


def connect() -> None:
    """Join the cluster, or start a local one; does nothing when connected.

    A local cluster is private to this process and token-protected, and ends with it.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if not os.environ.get("RAY_ADDRESS"):
        options |= {
            "num_cpus": max(LOGICAL_CPUS, os.cpu_count() or 1),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    ray.init(**options)
    _quiet_data()
    atexit.register(ray.shutdown)


def _quiet_data() -> None:
    import logging

    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
