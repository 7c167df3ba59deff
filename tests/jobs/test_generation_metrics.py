"""Rows of an evaluation: recordings, references, and other people's files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from gestray.artifacts import MANIFEST, Artifact, Stage, StageResult, StageRun, run_stage
from gestray.config import Config
from gestray.encoders.config import preset
from gestray.encoders.model import DualEncoder
from gestray.errors import UserError
from gestray.metrics.fgd import (
    MotionAutoencoder,
    MotionAutoencoderConfig,
    MotionAutoencoderTraining,
)
from gestray.metrics.generation.measure import FIGURES
from gestray.reports.generation import GenerationReport, cell, generation_tables, render
from gestray.store import Folder
from gestray.training.checkpoint import MODEL, model_bytes, save_config
from gestray.views.catalog import read_columns
from gestray.views.windows import motion_of
from jobs.encoder import PhraseEmbedder
from jobs.generate_scores import SCORES, ScoresConfig
from jobs.generation_encoder import EncoderJudge
from jobs.generation_metrics import Corpus, Judge, MetricsConfig
from jobs.stages import stage_config
from jobs.vectors import matrix
from tests.metrics.generation import published_oracle as oracle


@pytest.fixture(scope="module")
def corpus(takes: Folder) -> Corpus:
    return Corpus(takes, MetricsConfig(resamples=20))


@pytest.fixture(scope="module")
def judge(corpus: Corpus) -> Judge:
    torch.manual_seed(0)
    return Judge(corpus, MotionAutoencoder(MotionAutoencoderConfig(width=16, dim=4)).eval())


@pytest.fixture(scope="module")
def rows(corpus: Corpus, judge: Judge) -> dict[str, dict]:
    return {
        "recorded": judge.scores([corpus.recorded]),
        "mean pose": judge.scores([corpus.mean_pose()]),
        "one random clip": judge.scores([corpus.one_clip(0)]),
        "random clip": judge.scores([corpus.random_clips(seed) for seed in (0, 1)]),
    }


def write_outputs(corpus: Corpus, folder: Path, count: int | None = None) -> None:
    """Recorded motion as EMAGE writes its results."""
    for ref, moved in list(zip(corpus.tested, corpus.recorded, strict=True))[:count]:
        np.savez(
            folder / f"res_{ref.take_id}.npz",
            poses=moved.poses, trans=moved.trans, expressions=moved.expressions,
            betas=np.zeros(300), model="smplx2020", gender="neutral", mocap_frame_rate=30,
        )  # fmt: skip


def test_recorded_motion_is_what_it_is_compared_with(rows: dict[str, dict]) -> None:
    row = rows["recorded"]
    assert row["published.fgd"] == pytest.approx(0, abs=1e-4)
    assert row["corrected.fgd"] == row["fgd"] == pytest.approx(0, abs=1e-5)
    assert row["corrected.srgr"] == pytest.approx(1)
    assert row["semantic.fields"] > rows["mean pose"]["semantic.fields"]


def test_references_are_farther_away(rows: dict[str, dict]) -> None:
    for name in ("mean pose", "one random clip", "random clip"):
        assert rows[name]["corrected.fgd"] > 1e-7 > rows["recorded"]["corrected.fgd"]
        assert rows[name]["corrected.srgr"] < 0.999
    still = rows["mean pose"]
    assert still["corrected.diversity"] == pytest.approx(0, abs=1e-2)  # centimetres
    assert (
        still["corrected.jitter"] == pytest.approx(0, abs=0.5) and still["semantic.gestures"] == 0
    )
    assert len(rows["random clip"]["runs"]) == 2


def test_one_clip_is_a_training_take_over_and_over(corpus: Corpus) -> None:
    clips = [moved.poses for moved in corpus.one_clip(3)]
    assert [len(clip) for clip in clips] == [len(moved.poses) for moved in corpus.recorded]
    rows = [(ref, read_columns(corpus.takes, ref, ["poses"])) for ref in corpus.trained]
    takes = [motion_of(ref, row, "poses") for ref, row in rows]
    shared = min(map(len, [*clips, *takes]))
    assert len({clip[:shared].tobytes() for clip in clips}) == 1
    assert sum(np.array_equal(clips[0][:shared], take[:shared]) for take in takes) == 1
    assert len({corpus.one_clip(seed)[0].poses.tobytes() for seed in range(8)}) > 1


def test_published_fgd_equals_its_oracle(corpus: Corpus, judge: Judge, rows: dict) -> None:
    """Ten times the distance of latent frames of clips cut to whole multiples of 32 frames."""

    def features(motions: list) -> np.ndarray:
        clips = [m.poses[: len(m.poses) // 32 * 32] for m in motions]
        return np.concatenate([judge.autoencoder.latents([clip]) for clip in clips])

    wanted = oracle.frechet(features(corpus.recorded), features(corpus.random_clips(0)))
    found = rows["random clip"]["runs"][0]["published.fgd"]
    assert found == pytest.approx(wanted, rel=1e-3) and found > 1e-7


def test_every_figure_is_of_a_mode_and_within_its_interval(rows: dict[str, dict]) -> None:
    known = {f"{mode}.{f.name}" for mode, figures in FIGURES.items() for f in figures}
    for row in rows.values():
        named = {n for n in row if n.startswith(("published.", "corrected."))}
        plain = {n for n in named if not n.endswith((".low", ".high"))}
        assert plain <= known
        assert not any("mse" in n or "lvd" in n for n in named)  # no model, no figure
        for name in plain & {n.removesuffix(".low") for n in named}:
            assert row[f"{name}.low"] <= row[f"{name}.high"]
    row = rows["random clip"]
    assert row["published.l1div.low"] <= row["published.l1div"] <= row["published.l1div.high"]


def test_a_folder_of_npz_is_a_row(
    corpus: Corpus, judge: Judge, rows: dict[str, dict], tmp_path: Path
) -> None:
    write_outputs(corpus, tmp_path)
    found = judge.scores([corpus.motions_of("theirs", str(tmp_path))])
    for name, value in rows["recorded"].items():
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, abs=1e-5), name


def test_takes_that_a_folder_lacks_are_left_out_and_said(
    corpus: Corpus, judge: Judge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_outputs(corpus, tmp_path, count=1)
    motions = corpus.motions_of("theirs", str(tmp_path))
    assert [m is not None for m in motions] == [True] + [False] * (len(motions) - 1)
    assert f"no motion for {len(motions) - 1} of {len(motions)} takes" in capsys.readouterr().err
    assert judge.scores([motions])["takes"] == 1


def test_a_folder_of_other_takes_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    np.savez(tmp_path / "res_99_nobody_0_1_1.npz", poses=np.zeros((4, 165)))
    with pytest.raises(UserError, match="found 1 npz files, none whose name holds the id"):
        corpus.motions_of("theirs", str(tmp_path))
    write_outputs(corpus, tmp_path, count=1)
    take_id = corpus.tested[0].take_id
    (tmp_path / f"again_{take_id}.npz").write_bytes(b"")
    with pytest.raises(UserError, match=f"for take {take_id}"):
        corpus.motions_of("theirs", str(tmp_path))


def test_ids_within_ids_are_told_apart(corpus: Corpus, tmp_path: Path) -> None:
    from jobs.generation_metrics import _is_of

    assert _is_of("out/res_2_scott_0_1_1.npz", "2_scott_0_1_1")
    assert _is_of("2_scott_0_1_1_output.npz", "2_scott_0_1_1")
    assert not _is_of("res_12_scott_0_1_1.npz", "2_scott_0_1_1")
    assert not _is_of("res_2_scott_0_1_10.npz", "2_scott_0_1_1")
    assert not _is_of("res_2_scott_0_1_1_2.npz", "2_scott_0_1_1")


def test_an_encoder_sees_the_motion_of_the_row(corpus: Corpus, tmp_path: Path) -> None:
    """Recorded motion scores as its recordings are embedded; in other places, another's motion."""
    training = preset("direct")

    def write(run: StageRun) -> StageResult:
        run.folder.write_bytes(model_bytes(DualEncoder(training.model)), MODEL)
        save_config(training.model, run.folder)
        return StageResult(1, 1)

    stage = Stage("encoder.train", "encoder", type(training), write)
    encoder = run_stage(stage, Folder(str(tmp_path)), "direct", training, {}).artifact
    judge = EncoderJudge(corpus.takes, corpus.tested, "test", encoder)
    recorded, swapped = judge.parts(corpus.recorded), judge.parts(corpus.recorded[::-1])
    embed = PhraseEmbedder(encoder.folder, training, "test", 64, fine=False)
    for ref, part in zip(corpus.tested, recorded, strict=True):
        rows = embed(ref, read_columns(corpus.takes, ref, embed.columns))
        cosine = (matrix(rows, "motion_embedding") * matrix(rows, "text_embedding")).sum(axis=1)
        assert part["encoder.similarity"] == pytest.approx((cosine.sum(), len(rows)), abs=1e-4)
        assert 0 <= part["encoder.r1"][0] <= len(rows)
    assert recorded != swapped
    lacking = judge.parts([None, *corpus.recorded[1:]])
    assert lacking[0] == {} and lacking[1:] != [{}] * len(lacking[1:])


def test_an_ancestor_that_is_gone_is_missed_before_anything_is_scored(tmp_path: Path) -> None:
    store = Folder(str(tmp_path))

    def made(kind: str, **inputs: Artifact) -> Artifact:
        needs = {role: artifact.manifest.kind for role, artifact in inputs.items()}
        stage = Stage(f"make.{kind}", kind, Config, lambda _: StageResult(1, 1), needs)
        return run_stage(stage, store, kind, Config(), inputs).artifact

    corpus = made("corpus")
    inputs = {"takes": made("takes", corpus=corpus), "fgd": made("fgd")}
    (Path(corpus.uri) / MANIFEST).unlink()
    with pytest.raises(UserError, match=rf"{corpus.uri}: found no {MANIFEST}"):
        run_stage(SCORES, store, "scores", ScoresConfig(), inputs)


def test_one_value_of_a_part_leaves_the_rest_as_the_stage_has_it() -> None:
    config = stage_config("metrics.train-fgd", {"loop": {"steps": 7}}, "test")
    assert isinstance(config, MotionAutoencoderTraining)
    assert config.loop == MotionAutoencoderTraining().loop.model_copy(update={"steps": 7})
    assert config.windows == MotionAutoencoderTraining().windows


def test_the_report_names_modes_and_what_is_missing(rows: dict[str, dict]) -> None:
    report = GenerationReport(
        title="Generated motion", split="test", takes=2, seeds=(0,), synthetic=True,
        smplx_model=False, beats={"trim": 60, "threshold": 0.3}, rows=rows,
    )  # fmt: skip
    page = render(report)
    for text in ("Published mode", "Corrected mode", "Synthetic data", "mean pose", "smplx_model="):
        assert text in page
    tables = generation_tables(report, width=200)
    assert [len(table.rows) for table in tables] == [len(rows)] * 3
    assert "60 frames trimmed" in str(tables[-1].caption)
    assert "–" in list(tables[0].columns[-1].cells)  # LVD without a model


def test_in_a_narrow_terminal_tables_go_on_below_and_nothing_is_cut(rows: dict[str, dict]) -> None:
    report = GenerationReport(
        title="", split="test", takes=2, seeds=(0,), synthetic=True, smplx_model=False,
        beats={"trim": 60, "threshold": 0.3}, rows=rows | {"without figures": {"takes": 2}},
    )  # fmt: skip

    def written(made_for: int, width: int) -> str:
        console = Console(file=io.StringIO(), width=width)
        for table in generation_tables(report, made_for):
            table.caption = None
            console.print(table)
        return "\n".join(map(str.rstrip, console.file.getvalue().splitlines()))

    for width in range(60, 120):
        assert written(width, width) == written(width, 500), "columns have the room they ask for"
    text = written(60, 60)
    assert "Corrected mode, continued" in text and "without figures" not in text
    for row in rows.values():
        for mode, figures in FIGURES.items():
            for figure in figures:
                assert all(part in text for part in cell(row, mode, figure))
