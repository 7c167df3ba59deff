"""Recorded gestures for words: which are chosen, which are asked for, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from gestray.artifacts import Artifact, Stage, StageResult, StageRun, run_stage
from gestray.config import Config
from gestray.encoders.config import preset
from gestray.encoders.model import DualEncoder
from gestray.errors import UserError
from gestray.generators.marks import Mark, read_marks
from gestray.generators.strokes import hand_speeds
from gestray.retrieval.index import ANCHOR, GestureIndex
from gestray.speech.words import Word
from gestray.store import Folder
from gestray.training.checkpoint import MODEL, model_bytes, save_config
from gestray.views.catalog import read_catalog, read_columns
from jobs.encoder import PhraseEmbedder
from jobs.index import INDEX
from jobs.retrieved import RecordedGestures
from jobs.vectors import matrix

WORDS = [
    Word(name, 2.0 + i, 2.4 + i)
    for i, name in enumerate(["no", "idea", "what", "you", "mean", "by", "that"])
]


@pytest.fixture(scope="module")
def gestures(takes: Folder, tmp_path_factory: pytest.TempPathFactory) -> RecordedGestures:
    """An index of the synthetic corpus by an untrained encoder; every other phrase a shrug."""
    store = Folder(str(tmp_path_factory.mktemp("store")))
    torch.manual_seed(0)
    training = preset("direct")

    def artifact(kind: str, write: Any, **inputs: Artifact) -> Artifact:
        def run(run: StageRun) -> StageResult:
            write(run.folder)
            return StageResult(1, 1)

        stage = Stage(kind, kind, Config, run, needs={role: role for role in inputs})
        return run_stage(stage, store, kind, Config(), inputs).artifact

    def write_takes(folder: Folder) -> None:
        folder.write_bytes(takes.read_bytes("shards/00000.parquet"), "shards/00000.parquet")

    def write_encoder(folder: Folder) -> None:
        folder.write_bytes(model_bytes(DualEncoder(training.model)), MODEL)
        save_config(training.model, folder)

    def write_index(folder: Folder) -> None:
        embed = PhraseEmbedder(encoder.folder, training, None, 64, False)
        catalog = read_catalog(takes)
        rows = pa.concat_tables(
            [embed(ref, read_columns(takes, ref, embed.columns)) for ref in catalog]
        )
        for name in ANCHOR:
            shrugs = ["shrug" if name == "intent" and i % 2 else None for i in range(len(rows))]
            rows = rows.append_column(name, pa.array(shrugs, pa.string()))
        work = tmp_path_factory.mktemp("index")
        GestureIndex.build(matrix(rows, "motion_embedding"), rows).save(str(work))
        folder.upload(Path(work), INDEX)

    takes_made = artifact("takes", write_takes)
    encoder = artifact("encoder", write_encoder)
    embeddings = artifact("embeddings", lambda folder: None, takes=takes_made, encoder=encoder)
    return RecordedGestures(artifact("index", write_index, embeddings=embeddings))


@pytest.fixture(scope="module")
def idle(takes: Folder) -> np.ndarray:
    """Ten seconds of hanging arms."""
    return np.zeros((360, 165), np.float32)


def test_words_are_chosen_apart_and_every_wish_is_listed(gestures: RecordedGestures, idle) -> None:
    poses, inserted = gestures.put_into(idle, WORDS, (), choose=True)
    placed = [one for one in inserted if one.outcome == "placed"]
    assert placed and all(one.clip and one.asked is None for one in inserted)
    starts = [one.start_s for one in inserted]
    assert starts == sorted(starts) and np.diff(starts).min(initial=9.0) >= 2.5
    assert {one.word for one in inserted} <= {word.word for word in WORDS}
    assert np.abs(poses - idle).max() > 0.1
    allowed = max(gestures._fastest, 6.0)
    assert hand_speeds(poses).max() <= allowed


def test_what_is_asked_for_has_the_right_of_way(gestures: RecordedGestures, idle) -> None:
    _, (one,) = gestures.put_into(idle, WORDS, [Mark(3, "shrug")], choose=False)
    assert (one.word, one.start_s, one.asked) == ("you", 5.0, "shrug")
    rows = gestures._index.rows
    intents = dict(zip(rows["phrase_id"].to_pylist(), rows["intent"].to_pylist(), strict=True))
    assert intents[one.clip] == "shrug"
    named = next(clip for clip, intent in intents.items() if intent is None)
    _, (other,) = gestures.put_into(idle, WORDS, [Mark(3, named)], choose=False)
    assert other.clip == named
    _, (third,) = gestures.put_into(idle, WORDS, [Mark(3, "both hands rise")], choose=False)
    assert third.clip in intents
    _, both = gestures.put_into(idle, WORDS, [Mark(3, "shrug")], choose=True)
    assert [o.asked for o in both].count("shrug") == 1
    assert all(abs(o.start_s - 5.0) >= 2.5 for o in both if o.asked is None)


def test_an_intent_that_the_index_lacks_is_refused(gestures: RecordedGestures, idle) -> None:
    from gestray.anchors.taxonomy import load_taxonomy

    lacking = next(label for label in load_taxonomy().labels if label != "shrug")
    with pytest.raises(UserError, match=f"no gesture of intent '{lacking}'; it has: shrug"):
        gestures.put_into(idle, WORDS, [Mark(0, lacking)], choose=False)


def test_marks_are_read_off_a_text() -> None:
    text = (
        "I have <mark name=\"gesture:shrug\"/> no idea. <mark name='gesture: a big circle'/>None!"
    )
    assert read_marks(text) == (
        "I have  no idea. None!",
        [Mark(2, "shrug"), Mark(4, "a big circle")],
    )
    assert read_marks("plain words") == ("plain words", [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("so <break/> what", "found '<break/>', expected no other tag"),
        ('so <mark name="here"/> what', "expected no other tag"),
        ("less < more", "expected no other tag"),
        ('the end <mark name="gesture:shrug"/>', "no word follows the mark gesture:shrug"),
    ],
)
def test_what_is_no_mark_is_said(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_marks(text)
