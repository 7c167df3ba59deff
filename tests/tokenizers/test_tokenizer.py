"""The motion tokenizer: shapes, round trips, codebooks, and its errors."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.errors import UserError
from gestray.motion.rotations import axis_angle_to_matrix, geodesic_distance, matrix_to_sixd
from gestray.motion.skeleton import FACE
from gestray.store import Folder
from gestray.tokenizers.config import preset
from gestray.tokenizers.model import MotionTokenizer
from gestray.training.checkpoint import MODEL, save_config, save_model


def small(**changes) -> MotionTokenizer:
    torch.manual_seed(0)
    sizes = {"width": 16, "code_dim": 8, "codebook_size": 16, "quantizers": 3, "depth": 1}
    return MotionTokenizer(preset("sma").model.model_copy(update=sizes | changes))


@pytest.fixture(scope="module")
def trained() -> MotionTokenizer:
    """Its codebooks have been started from data."""
    model = small().train()
    model(torch.randn(8, 64, 165) * 0.3, seed=0)
    return model.eval()


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 70))
def test_motion_of_any_length_has_a_token_every_four_frames(trained, frames):
    codes = trained.encode(torch.randn(2, frames, 165) * 0.3)
    tokens = -(-frames // 4)
    assert {part: tuple(c.shape) for part, c in codes.items()} == {
        "body": (2, tokens, 3),
        "hands": (2, tokens, 3),
    }
    assert trained.decode(codes).shape == (2, 4 * tokens, 165)


def test_decoding_codes_gives_what_the_forward_pass_rebuilds(trained):
    poses = torch.randn(2, 32, 165) * 0.3
    with torch.no_grad():
        whole = trained(poses)
    again = axis_angle_to_matrix(trained.decode(whole.codes).unflatten(-1, (55, 3)))
    assert geodesic_distance(again, whole.rotations).max() < 1e-3


def test_the_face_is_left_at_rest(trained):
    decoded = trained.decode(trained.encode(torch.randn(1, 16, 165)))
    face = decoded.unflatten(-1, (55, 3))[:, :, list(FACE)]
    assert torch.equal(face, torch.zeros_like(face))


def test_the_streams_do_not_hear_each_other(trained):
    poses = torch.randn(1, 32, 165) * 0.3
    other = poses.clone()
    other[:, :, 75:] += 0.4
    before, after = trained.encode(poses), trained.encode(other)
    assert torch.equal(before["body"], after["body"])
    assert not torch.equal(before["hands"], after["hands"])


def test_training_draws_the_same_levels_and_codes_for_the_same_seed():
    poses = torch.randn(8, 64, 165) * 0.3
    a, b = small().train(), small().train()
    torch.manual_seed(1)
    first = a(poses, seed=5)
    torch.manual_seed(2)
    second = b(poses, seed=5)
    assert torch.equal(first.codes["hands"], second.codes["hands"])
    assert torch.equal(first.rotations, second.rotations)


def test_the_start_is_the_principal_components_of_the_first_batch():
    """With as many dimensions as the motion has, reconstruction is exact before any step."""
    poses = torch.zeros(4, 32, 165)
    ways = torch.randn(3, 165) * 0.1  # three ways to move: small angles are linear in 6D
    ways[:, 66:75] = 0  # the face is no part
    amounts = torch.randn(4, 8, 3).repeat_interleave(4, dim=1) * 0.1
    poses += amounts @ ways
    model = small().train()
    model(poses, seed=0)
    stream = model.streams["body"]
    assert bool(stream.started)
    with torch.no_grad():
        rotations = axis_angle_to_matrix(poses.unflatten(-1, (55, 3)))[:, :, :22]
        sixd = matrix_to_sixd(rotations).flatten(-2) - stream.rest
        latent = stream.to_code(
            stream.encoder(stream.from_patch(sixd.unflatten(1, (-1, 4)).flatten(-2)))
        )
        rebuilt = stream._decode(latent).flatten(-2) - stream.rest
    assert (rebuilt - sixd).abs().max() < 0.02 * sixd.abs().max()


def test_dead_codes_move_to_where_the_data_are():
    varied, constant = torch.randn(8, 64, 165) * 0.3, torch.zeros(8, 64, 165)
    farthest = {}
    for dead_below in (0.0, 1.0):
        model = small(dead_below=dead_below, ema_decay=0.5, quantizer_dropout=False).train()
        model(varied, seed=0)
        for step in range(1, 8):
            model(constant, seed=step)
        stream = model.streams["body"]
        with torch.no_grad():
            patches = torch.zeros(1, 16, 4 * 22 * 6)
            vectors = stream.to_code(stream.encoder(stream.from_patch(patches)))[0]
        codes = stream.quantizer.layers[0]._codebook.embed[0]
        farthest[dead_below] = torch.cdist(codes, vectors).min(dim=1).values.max()
    assert farthest[1.0] < 0.1 * farthest[0.0]


def test_a_saved_tokenizer_is_the_same_tokenizer(trained, tmp_path):
    folder = Folder(str(tmp_path))
    save_model(tmp_path / MODEL, trained)
    save_config(trained.config, folder)
    poses = torch.randn(1, 40, 165)
    loaded = MotionTokenizer.from_folder(folder)
    assert all(
        torch.equal(codes, trained.encode(poses)[part])
        for part, codes in loaded.encode(poses).items()
    )


def _rank(rank: int, address: str, poses: torch.Tensor, results) -> None:
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    model = small(quantizer_dropout=False).train()
    for step in range(3):
        model(poses[step].chunk(2)[rank], seed=step)
    books = [layer._codebook for layer in model.streams["hands"].quantizer.layers]
    results[rank] = [(book.embed.clone(), book.cluster_size.clone()) for book in books]
    dist.destroy_process_group()


def test_codebooks_are_the_same_on_two_ranks_as_on_one(tmp_path):
    """k-means start, moving averages and dead-code draws over the global batch."""
    poses = torch.randn(3, 16, 32, 165) * 0.3
    model = small(quantizer_dropout=False).train()
    for step in range(3):
        model(poses[step], seed=step)
    results = mp.get_context("spawn").Manager().dict()
    mp.spawn(_rank, (f"file://{tmp_path}/rendezvous", poses, results), nprocs=2)
    for level, layer in enumerate(model.streams["hands"].quantizer.layers):
        for rank in (0, 1):
            embed, sizes = results[rank][level]
            torch.testing.assert_close(embed, layer._codebook.embed, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(sizes, layer._codebook.cluster_size, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 32, 164), r"\(1, 32, 164\), expected \(B, T, 165\)"),
        ((1, 3, 165), "3 frames, expected at least 4"),
        ((32, 165), r"expected \(B, T, 165\)"),
    ],
)
def test_wrong_input_says_what_is_expected(trained, shape, message):
    with pytest.raises(UserError, match=message):
        trained.encode(torch.zeros(*shape))


def test_codes_of_other_parts_are_refused(trained):
    with pytest.raises(UserError, match=r"\['face'\], but the tokenizer has \['body', 'hands'\]"):
        trained.decode({"face": torch.zeros(1, 2, 3, dtype=torch.long)})
