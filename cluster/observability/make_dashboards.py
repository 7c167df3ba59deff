"""Writes the Grafana dashboards beside it: panels are listed here, and nowhere laid out by hand.

    python -m cluster.observability.make_dashboards

Import them in Grafana (Dashboards → New → Import) or provision the folder. They ask for a
Prometheus data source. A test compares what is committed with what this writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).with_name("dashboards")
_COLUMNS, _WIDTH, _HEIGHT = 2, 12, 8


class Panel(NamedTuple):
    """A time series: its queries by legend, and the unit of its axis."""

    title: str
    unit: str
    queries: dict[str, str]


LOSS = 'ray_gestray_train_loss{run=~"$run",part=~"$part"}'
ROUTES = 'route!~"/-/.*"'


def _train(figure: str) -> str:
    return f'ray_gestray_train_{figure}{{run=~"$run"}}'


def _rate(metric: str, by: str, labels: str = "") -> str:
    chosen = f"{{{labels}}}" if labels else ""
    return f"sum by ({by}) (rate({metric}{chosen}[$__rate_interval]))"


def _quantile(share: float, metric: str, labels: str, by: str) -> str:
    rate = f"rate({metric}_bucket{{{labels}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({by}, le) ({rate}))"


#: File → its title, variables (name → query) and panels.
DASHBOARDS: dict[str, tuple[str, dict[str, str], list[Panel]]] = {
    "data": (
        "gestray: ingest and data",
        {},
        [
            Panel(
                "Takes a minute",
                "short",
                {"{{outcome}}": "60 * " + _rate("ray_gestray_ingest_takes_total", "outcome")},
            ),
            Panel(
                "Stages: share done",
                "percentunit",
                {"{{what}}": "ray_gestray_progress_done / ray_gestray_progress_total"},
            ),
            Panel(
                "Time that trainings wait for data",
                "percentunit",
                {"{{run}}": "ray_gestray_train_data_wait_share"},
            ),
            Panel(
                "Rows out of Ray Data, a second",
                "short",
                {"{{dataset}} {{operator}}": _rate("ray_data_output_rows", "dataset, operator")},
            ),
            Panel(
                "Blocked on the next batch",
                "s",
                {"{{dataset}}": "sum by (dataset) (ray_data_iter_total_blocked_seconds)"},
            ),
            Panel("Spilled", "bytes", {"{{dataset}}": "sum by (dataset) (ray_data_spilled_bytes)"}),
        ],
    ),
    "training": (
        "gestray: training and sweeps",
        {
            "run": "label_values(ray_gestray_train_step, run)",
            "part": "label_values(ray_gestray_train_loss, part)",
        },
        [
            Panel("Losses", "short", {"{{run}} {{part}}": LOSS}),
            Panel("Steps", "short", {"{{run}}": _train("step")}),
            Panel("Samples a second", "short", {"{{run}}": _train("samples_per_s")}),
            Panel(
                "Step",
                "ms",
                {
                    "{{run}} median": _train("step_ms_p50"),
                    "{{run}} 95 %": _train("step_ms_p95"),
                },
            ),
            Panel("Codes in use", "percentunit", {"{{run}}": _train("codebook_use")}),
            Panel(
                "Gradient before clipping",
                "short",
                {"{{run}}": _train("grad_norm")},
            ),
            Panel("Learning rate", "short", {"{{run}}": _train("learning_rate")}),
            Panel("Memory", "decmbytes", {"{{run}}": _train("memory_mb")}),
            Panel("Trials of sweeps", "short", {"{{sweep}} {{state}}": "ray_gestray_sweep_trials"}),
            Panel("Best of sweeps", "short", {"{{sweep}} {{figure}}": "ray_gestray_sweep_best"}),
        ],
    ),
    "grounding": (
        "gestray: language models",
        {},
        [
            Panel(
                "Tokens a second",
                "short",
                {
                    "{{model_name}} generated": _rate(
                        "ray_vllm_generation_tokens_total", "model_name"
                    ),
                    "{{model_name}} prompt": _rate("ray_vllm_prompt_tokens_total", "model_name"),
                },
            ),
            Panel(
                "Prefix cache: hits",
                "percentunit",
                {
                    "{{model_name}}": _rate("ray_vllm_prefix_cache_hits_total", "model_name")
                    + " / "
                    + _rate("ray_vllm_prefix_cache_queries_total", "model_name")
                },
            ),
            Panel(
                "Prompts",
                "short",
                {
                    "{{model_name}} running": "sum by (model_name) (ray_vllm_num_requests_running)",
                    "{{model_name}} waiting": "sum by (model_name) (ray_vllm_num_requests_waiting)",
                },
            ),
            Panel(
                "Key-value cache in use",
                "percentunit",
                {"{{model_name}}": "max by (model_name) (ray_vllm_kv_cache_usage_perc)"},
            ),
            Panel(
                "From a prompt to its last token",
                "s",
                {
                    f"{{{{model_name}}}} {name}": _quantile(
                        share, "ray_vllm_e2e_request_latency_seconds", "", "model_name"
                    )
                    for name, share in (("median", 0.5), ("95 %", 0.95))
                },
            ),
        ],
    ),
    "serving": (
        "gestray: serving",
        {},
        [
            Panel(
                "Requests a second",
                "reqps",
                {
                    "{{route}} {{method}}": _rate(
                        "ray_serve_num_http_requests_total", "route, method", ROUTES
                    )
                },
            ),
            Panel(
                "Errors a second",
                "reqps",
                {
                    "{{route}} {{error_code}}": _rate(
                        "ray_serve_num_http_error_requests_total", "route, error_code", ROUTES
                    )
                },
            ),
            Panel(
                "Duration",
                "ms",
                {
                    name: _quantile(
                        share, "ray_serve_http_request_latency_ms", ROUTES, "application"
                    )
                    for name, share in (("median", 0.5), ("95 %", 0.95), ("99 %", 0.99))
                },
            ),
            Panel(
                "Requests that wait for a replica",
                "short",
                {
                    "{{deployment}}": "sum by (deployment) (ray_serve_deployment_queued_queries)",
                },
            ),
            Panel(
                "Texts or speeches computed together, mean",
                "short",
                {
                    "{{kind}}": "sum by (kind) (rate(gestray_batch_size_sum[$__rate_interval])) "
                    "/ sum by (kind) (rate(gestray_batch_size_count[$__rate_interval]))"
                },
            ),
            Panel(
                "Computing a batch",
                "s",
                {
                    f"{{{{kind}}}} {name}": f"histogram_quantile({share}, "
                    "sum by (kind, le) (rate(gestray_model_seconds_bucket[$__rate_interval])))"
                    for name, share in (("median", 0.5), ("95 %", 0.95))
                },
            ),
            Panel(
                "Waiting for a model",
                "short",
                {"{{kind}}": "sum by (kind) (gestray_queue_waiting)"},
            ),
            Panel(
                "Replicas that are well",
                "short",
                {"{{deployment}}": "sum by (deployment) (ray_serve_deployment_replica_healthy)"},
            ),
        ],
    ),
    "cluster": (
        "gestray: nodes",
        {},
        [
            Panel("Nodes' CPUs", "percent", {"{{instance}}": "ray_node_cpu_utilization"}),
            Panel(
                "Nodes' memory",
                "percentunit",
                {"{{instance}}": "ray_node_mem_used / ray_node_mem_total"},
            ),
            Panel(
                "Object stores",
                "bytes",
                {"{{Location}}": "sum by (Location) (ray_object_store_memory)"},
            ),
            Panel(
                "GPUs",
                "percent",
                {"{{instance}} {{GpuIndex}}": "ray_node_gpus_utilization"},
            ),
            Panel(
                "GPU memory",
                "decmbytes",
                {"{{instance}} {{GpuIndex}}": "ray_node_gram_used"},
            ),
            Panel(
                "Disks",
                "percentunit",
                {
                    "{{instance}}": "ray_node_disk_usage / "
                    "(ray_node_disk_usage + ray_node_disk_free)"
                },
            ),
            Panel("Nodes", "short", {"nodes": "count(ray_cluster_active_nodes)"}),
            Panel("Lost nodes", "short", {"since the start": "sum(ray_node_failure_total)"}),
            Panel("Tasks", "short", {"{{State}}": "sum by (State) (ray_tasks)"}),
            Panel("Actors", "short", {"{{State}}": "sum by (State) (ray_actors)"}),
        ],
    ),
}


def dashboard(name: str) -> dict[str, Any]:
    """One of `DASHBOARDS` as Grafana imports it."""
    title, variables, panels = DASHBOARDS[name]
    source = {"type": "prometheus", "uid": "${datasource}"}
    listed: list[dict[str, Any]] = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "data source"}
    ]
    listed += [
        {
            "name": variable,
            "type": "query",
            "datasource": source,
            "query": query,
            "refresh": 2,
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        }
        for variable, query in variables.items()
    ]
    return {
        "uid": f"gestray-{name}",
        "title": title,
        "tags": ["gestray"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": listed},
        "panels": [_panel(number, panel, source) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel, source: dict[str, str]) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend}
            for place, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def text(name: str) -> str:
    """A dashboard's file."""
    return json.dumps(dashboard(name), indent=1) + "\n"


if __name__ == "__main__":
    for each in DASHBOARDS:
        (FOLDER / f"{each}.json").write_text(text(each))
