"""The synthetic corpus as its readers see it."""

from __future__ import annotations

import csv
import hashlib
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from gestray.anchors.taxonomy import load_taxonomy
from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.synthetic import CorpusSummary, write_corpus
from gestray.corpora.synthetic.bounds import MAX_TURN_PER_FRAME, MAX_WRIST_SPEED_M_S
from gestray.corpora.synthetic.grammar import MAX_WORD_GAP_S
from gestray.corpora.synthetic.lexicon import PATTERNS
from gestray.corpora.synthetic.script import PAUSE_S
from gestray.corpora.synthetic.vocabulary import GESTURES
from gestray.corpora.synthetic.write import split_of_take
from gestray.errors import UserError
from gestray.motion.kinematics import joint_positions
from gestray.motion.rotations import axis_angle_to_matrix, geodesic_distance
from gestray.motion.skeleton import joint

TAKES = 12
SECONDS = 45.0


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[Path, CorpusSummary]:
    out = tmp_path_factory.mktemp("synthetic")
    return out, write_corpus(out, TAKES, seed=5, seconds=SECONDS)


@pytest.fixture(scope="module")
def takes(corpus):
    return [read_take(corpus[0], take_id) for take_id in list_takes(corpus[0]).take_ids]


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_same_seed_same_bytes_and_another_seed_differs(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_corpus(tmp_path / name, 2, seed, seconds=10.0)
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert first == again
    assert first.keys() == other.keys()
    differing = {name for name in first if first[name] != other[name]}
    assert {name for name in first if Path(name).parent.name in ("smplxflame_30", "textgrid")} <= (
        differing
    )


def test_larger_corpus_begins_with_the_smaller(tmp_path):
    write_corpus(tmp_path / "small", 2, seed=3, seconds=10.0)
    write_corpus(tmp_path / "large", 3, seed=3, seconds=10.0)
    small, large = contents(tmp_path / "small"), contents(tmp_path / "large")
    shared = [name for name in small if "/" in name]
    assert len(shared) == 2 * 5
    assert all(small[name] == large[name] for name in shared)


def test_layout_is_that_of_beat2(corpus):
    root, _ = corpus
    listing = list_takes(root)
    assert len(listing.take_ids) == TAKES
    assert not listing.absent and not listing.unlisted and not listing.quarantined
    assert "101_ada_0_1_1" in listing.take_ids
    assert "synthetic" in (root / "README.txt").read_text().lower()
    assert not (root / "wave16k").exists()
    with np.load(root / "smplxflame_30" / "101_ada_0_1_1.npz", allow_pickle=False) as arrays:
        frames = round(SECONDS * 30)
        shapes = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        assert shapes["poses"] == ((frames, 165), np.float32)
        assert shapes["betas"] == ((300,), np.float32)
        assert shapes["expressions"] == ((frames, 100), np.float64)
        assert shapes["trans"] == ((frames, 3), np.float64)
        assert str(arrays["model"]) == "smplx2020" and str(arrays["gender"]) == "neutral"
        assert int(arrays["mocap_frame_rate"]) == 30
    emotion = (root / "emo" / "101_ada_0_1_1.csv").read_text()
    assert emotion == "00_netural, 0, 45.000, 45.000, 0\n"


def test_summary_counts_what_is_there(corpus, takes):
    _, summary = corpus
    assert summary.takes == TAKES and summary.seconds == TAKES * SECONDS and summary.speakers == 8
    semantic = [g for take in takes for g in take.gold if g.intent != "beat"]
    assert summary.semantic_gestures == len(semantic) == sum(summary.types.values())
    assert summary.types.keys() == GESTURES.keys()
    pauses = sum(
        after.start_s - before.end_s >= PAUSE_S[0] - 1e-3
        for take in takes
        for before, after in pairwise(take.words)
    )
    assert summary.phrases == pauses + TAKES


def test_every_intent_has_a_type_and_occurs(takes):
    assert {kind.intent for kind in GESTURES.values()} == load_taxonomy().intents.keys() - {"beat"}
    assert len(GESTURES) >= 18 and GESTURES.keys() == PATTERNS.keys()
    met = {gesture.intent for take in takes for gesture in take.gold}
    assert met <= load_taxonomy().intents.keys() and "beat" in met and len(met) > 12


def test_keyword_lies_in_the_span_of_its_gesture(takes):
    found = 0
    for take in takes:
        for label in take.semantics:
            if label.keywords is None:
                continue
            inside = [
                word.word
                for word in take.words
                if word.start_s >= label.start_s - 0.02 and word.end_s <= label.end_s + 0.02
            ]
            assert label.keywords in " ".join(inside)
            found += 1
    assert found == sum(g.intent != "beat" for take in takes for g in take.gold)


def test_labels_and_gold_agree_and_lie_within_the_take(takes):
    for take in takes:
        labelled = [(s.start_s, s.end_s) for s in take.semantics if s.label != "00_nogesture"]
        assert np.allclose(labelled, [(g.start_s, g.end_s) for g in take.gold], atol=1e-3)
        assert take.semantics[0].start_s == 0 and take.semantics[-1].end_s == SECONDS
        for gesture in take.gold:
            assert 0 < gesture.start_s < gesture.end_s < SECONDS - 0.8
        for label in take.semantics:
            assert label.score == pytest.approx(int(label.label[:2]) / 10)


def test_words_come_in_utterances(takes):
    utterances, rates = 0, []
    for take in takes:
        run = 1
        for before, after in pairwise(take.words):
            gap = after.start_s - before.end_s
            # A pause is longer where the hands were not free yet.
            assert gap <= MAX_WORD_GAP_S + 2e-3 or PAUSE_S[0] - 2e-3 <= gap <= PAUSE_S[1] + 1.5
            if gap > 0.2:
                assert 5 <= run <= 25
                utterances, run = utterances + 1, 0
            run += 1
        spoken = sum(word.end_s - word.start_s for word in take.words)
        rates.append(len(take.words) / spoken)
    assert utterances > 40 and all(2.2 < rate < 3.6 for rate in rates)


def test_phones_tier_says_the_words_and_marks_stress(corpus, takes):
    text = (corpus[0] / "textgrid" / "102_ben_0_1_1.TextGrid").read_text()
    assert text.count('class = "IntervalTier"') == 2
    words, phones = (
        re.findall(r"xmin = (\S+)\s+xmax = (\S+)\s+text = \"(.*)\"", tier)
        for tier in text.split("item [2]:")
    )
    for tier in (words, phones):
        assert [start for start, _, _ in tier] == ["0", *(end for _, end, _ in tier[:-1])]
        assert float(tier[-1][1]) == SECONDS
    spoken = [(float(start), float(end), word) for start, end, word in words if word]
    sounds = [(float(start), float(end), label) for start, end, label in phones if label]
    for start, end, word in spoken:
        inside = [label for a, b, label in sounds if a >= start - 1e-3 and b <= end + 1e-3]
        assert inside and sum(label.endswith("1") for label in inside) <= 1, word
    stressed = sum(label.endswith("1") for _, _, label in sounds)
    assert 0.3 < stressed / len(spoken) < 0.8
    (take,) = [take for take in takes if take.take_id == "102_ben_0_1_1"]
    assert sum(word.stressed for word in take.words) == stressed


def test_motion_is_within_human_bounds(takes):
    wrists = [joint("left_wrist"), joint("right_wrist")]
    for take in takes:
        poses = torch.tensor(take.poses)
        positions = joint_positions(poses, torch.tensor(take.trans)).numpy()
        speed = np.linalg.norm(np.diff(positions[:, wrists], axis=0), axis=-1) * 30
        assert 0.8 < speed.max() < MAX_WRIST_SPEED_M_S
        rotations = axis_angle_to_matrix(poses.unflatten(-1, (55, 3)))
        turn = geodesic_distance(rotations[1:], rotations[:-1])
        assert turn[:, :25].max() < MAX_TURN_PER_FRAME


def test_mouth_moves_with_the_words(takes):
    for take in takes:
        jaw = take.poses[:, 66]
        seconds = np.arange(len(jaw)) / 30
        speaking = np.zeros(len(jaw), dtype=bool)
        for word in take.words:
            speaking |= (seconds >= word.start_s) & (seconds <= word.end_s)
        assert jaw[speaking].mean() > 5 * jaw[~speaking].mean() >= 0


def test_splits_are_balanced_and_never_empty():
    for takes, at_least in ((5, (1, 1, 1)), (40, (26, 3, 7)), (80, (56, 8, 16))):
        splits = [split_of_take(number) for number in range(takes)]
        counts = [splits.count(name) for name in ("train", "val", "test")]
        assert all(n >= least for n, least in zip(counts, at_least, strict=True)), counts
    # Ten takes of each of eight speakers.
    for speaker in range(8):
        of_speaker = [split_of_take(number) for number in range(speaker, 80, 8)]
        assert [of_speaker.count(s) for s in ("train", "val", "test")] == [7, 1, 2]


def test_split_file_names_the_splits(corpus):
    rows = list(csv.reader((corpus[0] / "train_test_split.csv").open()))
    assert rows[0] == ["id", "type"]
    assert [row[1] for row in rows[1:]] == [split_of_take(number) for number in range(TAKES)]


def test_too_small_a_corpus_is_refused(tmp_path):
    for takes, seed, seconds in ((0, 0, 45.0), (1, -1, 45.0), (1, 0, 9.0), (1, 0, float("nan"))):
        with pytest.raises(UserError, match="expected at least"):
            write_corpus(tmp_path, takes, seed, seconds)


def test_progress_is_reported_take_by_take(tmp_path):
    calls = []
    write_corpus(tmp_path, 2, 0, 10.0, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
