"""`gestray generate --rag` from end to end, with every strategy, and its rows in an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gestray.artifacts import run_stage
from gestray.corpora.npz import read_arrays
from gestray.errors import UserError
from gestray.generators.strategies.contract import STRATEGIES
from gestray.metrics.fgd import MotionAutoencoder, MotionAutoencoderConfig
from gestray.store import Folder
from gestray.training.checkpoint import MODEL, model_bytes, save_config
from gestray.views.catalog import read_catalog, read_columns
from jobs.generate_scores import SCORES, ScoresConfig, scores_of
from tests.generators.artifacts import given, given_index

TEXT = "We were late because it rained, but I drew a circle, and you waited while they never came."
CONTRACT = {
    "word", "start_s", "clip", "clip_start_s", "clip_end_s", "score", "strategy", "why", "outcome",
    "recognised",
}  # fmt: skip


@pytest.fixture(scope="module")
def store(speech_takes, generator_task, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Takes with speech, a tokenizer within an untrained generator, an encoder and an index."""
    folder = Folder(str(tmp_path_factory.mktemp("store")))
    torch.manual_seed(0)
    model = generator_task("semges").build()

    def write(folder: Folder) -> None:
        folder.write_bytes(model_bytes(model), MODEL)
        save_config(model.config, folder)

    given(folder, "generator", "semges", write)
    given_index(folder, speech_takes, tmp_path_factory.mktemp("index"), "train")
    return folder


@pytest.fixture(scope="module")
def keywords(speech_takes) -> str:
    """Annotated words of training takes, a sentence each."""
    found = set()
    for ref in read_catalog(speech_takes):
        labels = read_columns(speech_takes, ref, ["semantics"])["semantics"][0].as_py()
        found |= {x["keywords"] for x in labels if ref.split == "train" and x["keywords"]}
    return " ".join(f"{words}." for words in sorted(found))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_reports_in_the_same_way(gestray, store, keywords, tmp_path, strategy):
    out = tmp_path / "said.npz"
    options = ("--text", f"{TEXT} {keywords}", "--out", out, "--store", store.uri, "--json")
    made = gestray("generate", *options, "--rag", "--strategy", strategy)
    assert made.code == 0, made.err
    found = made.json["gestures"]
    assert found and all(set(one) == CONTRACT and one["strategy"] == strategy for one in found)
    assert all(one["why"] for one in found)
    if strategy == "discourse":
        assert {one["word"].casefold() for one in found} <= {"because", "but", "and", "while"}
    poses = poses_of(out)
    gestray("generate", *options)
    placed = any(one["outcome"] == "placed" for one in found)
    assert placed == (not np.array_equal(poses_of(out), poses))


def test_marks_go_before_what_a_strategy_chooses(gestray, store, tmp_path):
    text = TEXT.replace("never", '<mark name="gesture:shrug"/>never')
    made = gestray("generate", "--text", text, "--rag", "--out", tmp_path / "x.npz",
                   "--store", store.uri, "--json")  # fmt: skip
    assert made.code == 0, made.err
    (mark,) = [one for one in made.json["gestures"] if one["strategy"] == "mark"]
    assert (mark["word"], mark["why"]) == ("never", "asked for: shrug")


def test_a_strategy_that_is_none_is_refused(gestray, store, tmp_path):
    made = gestray("generate", "--text", TEXT, "--rag", "--strategy", "llm", "--out",
                   tmp_path / "x.npz", "--store", store.uri)  # fmt: skip
    assert made.code == 1
    assert "found 'llm', expected encoder, discourse, type" in " ".join(made.err.split())


def test_an_evaluation_has_a_row_for_each_strategy(store, speech_takes, tmp_path):
    from gestray.artifacts import newest

    inputs = {kind: newest(store, kind) for kind in ("takes", "index")}
    inputs["semges"] = newest(store, "generator")
    config = MotionAutoencoderConfig(width=16, dim=4)

    def write(folder: Folder) -> None:
        folder.write_bytes(model_bytes(MotionAutoencoder(config)), MODEL)
        save_config(config, folder)

    inputs["fgd"] = given(store, "fgd", "fgd", write)
    # Codes of no training, drawn, would leave room for a gesture or not as it happens.
    scored = ScoresConfig(split="val", resamples=0, temperature=0, strategies=("encoder", "type"))
    rows = scores_of(run_stage(SCORES, store, "scores", scored, inputs).artifact.folder)["rows"]
    plain, row = rows["semges"], rows["semges + encoder"]
    assert "semges + type" in rows and "inserted.recognised" not in plain
    assert row["inserted.a_minute"] > 0 and row["inserted.peaks"] == 0
    assert 0 <= row["inserted.recognised"] <= row["inserted.alike"] <= 1
    assert row["fgd"] != plain["fgd"]
    with pytest.raises(UserError, match=r"found encoder and no index"):
        without = {role: made for role, made in inputs.items() if role != "index"}
        run_stage(SCORES, store, "none", ScoresConfig(strategies=("encoder",)), without)
    with pytest.raises(UserError, match=r"holds \d+ phrases of the split 'train'"):
        own = ScoresConfig(split="train", strategies=("encoder",))
        run_stage(SCORES, store, "own", own, inputs)


def poses_of(file: Path) -> np.ndarray:
    import io

    return read_arrays(io.BytesIO(file.read_bytes()), str(file), ("poses",))["poses"]
