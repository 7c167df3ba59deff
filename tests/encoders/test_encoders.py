"""The dual encoder: what its embeddings depend on, and what they must not."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from gestray.encoders.config import preset
from gestray.encoders.model import DualEncoder
from gestray.encoders.objectives import info_nce
from gestray.encoders.task import EncoderTask, pad_poses
from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.checkpoint import MODEL, save_config, save_model


@pytest.fixture(scope="module")
def encoder() -> DualEncoder:
    torch.manual_seed(0)
    return DualEncoder(preset("sma").model).eval()


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def test_an_embedding_does_not_depend_on_the_rest_of_the_batch(encoder):
    motions = [torch.randn(n, 165) * 0.3 for n in (61, 90, 122)]
    together = encoder.embed_motion(*pad_poses([m.numpy().tobytes() for m in motions], 300))
    for motion, embedded in zip(motions, together, strict=True):
        alone = encoder.embed_motion(motion[None], torch.tensor([len(motion)]))[0]
        torch.testing.assert_close(alone, embedded, atol=1e-5, rtol=0)
        assert alone.norm().item() == pytest.approx(1, abs=1e-5)


def test_the_face_and_the_place_of_the_speaker_do_not_matter(encoder):
    motion = torch.randn(1, 60, 165) * 0.3
    frames = torch.tensor([60])
    moved = motion.clone()
    moved[:, :, :3] += 1.0  # global orientation
    moved[:, :, 66:75] += 0.5  # jaw and eyes
    assert torch.equal(encoder.embed_motion(motion, frames), encoder.embed_motion(moved, frames))
    moved[:, :, 3 * 16 : 3 * 17] += 0.5  # left shoulder
    assert not torch.allclose(
        encoder.embed_motion(motion, frames), encoder.embed_motion(moved, frames), atol=1e-3
    )


def test_long_motion_keeps_its_middle():
    motion = torch.arange(10.0)[:, None].expand(10, 165)
    poses, frames = pad_poses([motion.numpy().tobytes()], max_frames=4)
    assert poses[0, :, 0].tolist() == [3, 4, 5, 6]
    assert frames.tolist() == [4]


def test_like_texts_are_near_and_a_text_is_encoded_alike_alone_and_in_company(encoder):
    texts = ["I have no idea", "I really don't know", "the train was enormous"]
    raw = F.normalize(encoder.text(texts, torch.device("cpu")), dim=-1)
    assert raw[0] @ raw[1] > raw[0] @ raw[2]
    fresh = DualEncoder(encoder.config).text([texts[1]], torch.device("cpu"))
    assert torch.equal(F.normalize(fresh, dim=-1)[0], raw[1])


def test_a_frozen_text_model_is_neither_trained_nor_stored(encoder):
    assert not [name for name in encoder.state_dict() if "backbone" in name]
    full = preset("direct").model
    full = full.model_copy(update={"text": full.text.model_copy(update={"train": "full"})})
    assert [name for name, _ in DualEncoder(full).named_parameters() if "backbone" in name]


def test_anchor_heads_exist_only_where_anchors_supervise(encoder):
    assert set(encoder.heads) == {"transcript", "form", "intent"}
    assert set(DualEncoder(preset("direct").model).heads) == {"transcript"}


def test_a_saved_encoder_is_the_same_encoder(encoder, tmp_path):
    folder = Folder(str(tmp_path))
    save_model(tmp_path / MODEL, encoder)
    save_config(encoder.config, folder)
    loaded = DualEncoder.from_folder(folder)
    text = ["that is what I mean"]
    assert torch.equal(loaded.embed_text(text), encoder.embed_text(text))


def test_info_nce_is_the_closed_form():
    a, b = unit(5, 8), unit(5, 8, seed=1)
    scale = torch.tensor(3.0, dtype=torch.float64)
    logits = (3 * a.float() @ b.float().T).double()
    expected = 0.0
    for i in range(5):
        expected -= math.log(math.exp(logits[i, i]) / sum(math.exp(x) for x in logits[i]))
        expected -= math.log(math.exp(logits[i, i]) / sum(math.exp(x) for x in logits[:, i]))
    assert info_nce(a, b, scale).item() == pytest.approx(expected / 10, rel=1e-5)


def test_pairs_that_belong_together_are_no_negatives():
    a, b = unit(4, 8), unit(4, 8, seed=1)
    scale = torch.tensor(2.0)
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    gradient = {}
    for name, mask in (("without", None), ("with", same)):
        x = a.clone().requires_grad_()
        loss = info_nce(x, b, scale, mask)
        gradient[name] = torch.autograd.grad(loss, x)[0]
    assert info_nce(a, b, scale, same) < info_nce(a, b, scale)
    assert not torch.allclose(gradient["without"][0], gradient["with"][0])


def test_rows_without_a_pair_change_nothing():
    a, b = unit(6, 8), unit(6, 8, seed=1)
    scale = torch.tensor(2.0)
    weight = torch.tensor([1.0, 0, 1, 1, 0, 1])
    kept = weight.bool()
    expected = info_nce(a[kept], b[kept], scale)
    assert info_nce(a, b, scale, weight=weight).item() == pytest.approx(expected.item(), rel=1e-6)
    assert info_nce(a, b, scale, weight=torch.zeros(6)).item() == 0


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(UserError, match="known: direct, sma"):
        preset("tmrr")


def test_a_task_reads_phrases_of_the_training_split():
    assert EncoderTask(preset("direct")).view().split == "train"
