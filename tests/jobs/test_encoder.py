"""Encoder stages: what they refuse to start on, and the table of embeddings they write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.shards import ShardWriter
from gestray.corpora.synthetic import write_corpus
from gestray.encoders.config import EncoderTraining, preset
from gestray.encoders.model import DualEncoder
from gestray.encoders.task import inputs_of, phrases_for
from gestray.errors import UserError
from gestray.speech.words import Word
from gestray.store import Folder
from gestray.views.catalog import read_catalog, read_columns, takes_without
from jobs.encoder import PhraseEmbedder, check_takes, embeddings_schema
from tests.encoders.test_encoders import model_of


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Takes of a synthetic corpus with audio; the last without, and without times of words."""
    corpus = tmp_path_factory.mktemp("corpus")
    write_corpus(corpus, takes=3, seed=7, seconds=15.0)
    folder = Folder(str(tmp_path_factory.mktemp("takes")))
    sound = np.random.default_rng(0).integers(-3000, 3000, 15 * 16000).astype(np.int16)
    with folder.open_output("shards/00000.parquet") as stream, ShardWriter(stream) as writer:
        for number, take_id in enumerate(list_takes(corpus).take_ids):
            take = replace(read_take(corpus, take_id), split="train", audio=sound.tobytes())
            if number == 2:
                take.audio = None
                take.words = [Word(word.word) for word in take.words]
            writer.write(take)
    return folder


def training_of(name: str, **changes: object) -> EncoderTraining:
    return preset(name).model_copy(update={"model": model_of(name, **changes)})


def embedder(name: str, folder: Path, fine: bool, **changes: object) -> PhraseEmbedder:
    torch.manual_seed(0)
    training = training_of(name, **changes)
    DualEncoder(training.model).save_pretrained(str(folder))
    return PhraseEmbedder(Folder(str(folder)), training, batch_size=4, fine=fine, split=None)


def test_takes_without_what_a_method_needs_are_named(spoken):
    last = read_catalog(spoken)[2].take_id
    assert takes_without(spoken, read_catalog(spoken), "audio") == [last]
    with pytest.raises(UserError, match=f"1 of 3 takes have no audio \\({last}\\)"):
        check_takes(spoken, training_of("gestsync"))
    coupled = training_of("direct", objectives={"coupling": 1.0})
    with pytest.raises(UserError, match=f"1 of 3 takes have no times of words.*\\({last}\\)"):
        check_takes(spoken, coupled)
    for name in ("direct", "tmr", "clip4clip", "sma"):
        check_takes(spoken, training_of(name))


def test_a_table_has_the_columns_of_the_method(spoken, tmp_path):
    ref = read_catalog(spoken)[0]
    given = {"jegal": 3, "direct": 1, "gestsync": 1}
    for name, count in given.items():
        embed = embedder(name, tmp_path / name, fine=False)
        rows = embed(ref, read_columns(spoken, ref, embed.columns))
        assert rows.schema == embeddings_schema(embed.model.config, fine=False)
        columns = ["text_embedding", "speech_embedding", "text_speech_embedding"]
        filled = [column for column in columns if rows[column].null_count == 0]
        assert len(filled) == count
        assert all(rows[c].null_count == len(rows) for c in columns if c not in filled)
        for column in ("motion_embedding", *filled):
            norms = np.linalg.norm(np.array(rows[column].to_pylist()), axis=1)
            np.testing.assert_allclose(norms, 1, atol=1e-5)


def test_fine_columns_line_up_with_words_and_frames(spoken, tmp_path):
    """Row by row against the model on the phrase alone."""
    ref = read_catalog(spoken)[1]
    embed = embedder("jegal", tmp_path, fine=True)
    take = read_columns(spoken, ref, embed.columns)
    rows = embed(ref, take)
    assert rows.schema == embeddings_schema(embed.model.config, fine=True)
    view = phrases_for(training_of("jegal"), None)
    for number, row in enumerate(rows.to_pylist()):
        [words] = view.cut(ref, take, [number])["words"].to_pylist()
        assert row["words"] == words
        assert len(row["word_embeddings"]) == len(words) == len(row["text"].split())
        frames = round((row["end_s"] - row["start_s"]) * 30)
        stride = embed.model.config.motion.stride
        assert len(row["frame_embeddings"]) == -(-frames // stride)
        assert len(row["speech_frame_embeddings"]) == len(row["frame_embeddings"])
        assert row["frame_start_s"] == row["start_s"]
        batch = inputs_of(view.cut(ref, take, [number]), embed.model.config)
        with torch.inference_mode():
            said = embed.model.query(batch)
            _, positions, _ = embed.model.gestures(batch["poses"], batch["frames"])
        np.testing.assert_allclose(row["word_embeddings"], said.steps[0].numpy(), atol=2e-5)
        np.testing.assert_allclose(row["frame_embeddings"], positions[0].numpy(), atol=2e-5)
        np.testing.assert_allclose(row["text_speech_embedding"], said.pooled[0], atol=2e-5)


def test_words_without_times_and_takes_without_audio_are_embedded_by_methods_that_read(
    spoken, tmp_path
):
    ref = read_catalog(spoken)[2]
    embed = embedder("direct", tmp_path, fine=True)
    rows = embed(ref, read_columns(spoken, ref, embed.columns))
    assert len(rows) == 1
    assert rows["words"][0][0]["start_s"].as_py() is None
    assert len(rows["word_embeddings"][0]) == len(rows["words"][0])
    assert rows["speech_frame_embeddings"].null_count == 1
    deaf = embedder("gestsync", tmp_path / "deaf", fine=False)
    with pytest.raises(UserError, match=f"take '{ref.take_id}' has no audio"):
        deaf(ref, read_columns(spoken, ref, deaf.columns))


def test_long_motion_says_when_its_frames_begin(spoken, tmp_path):
    """Of 15 s the tower keeps the middle 10; the frames' times say so."""
    ref = read_catalog(spoken)[2]
    embed = embedder("direct", tmp_path, fine=True)
    [row] = embed(ref, read_columns(spoken, ref, embed.columns)).to_pylist()
    assert row["end_s"] - row["start_s"] == pytest.approx(15, abs=0.1)
    assert row["frame_start_s"] == pytest.approx(2.5, abs=0.05)
    assert len(row["frame_embeddings"]) == 75
    assert isinstance(embed.schema, pa.Schema)
