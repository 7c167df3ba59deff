"""The motion tokenizer: shapes, round trips, codebooks, and its errors."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.config import make_config, with_overrides
from gestray.errors import UserError
from gestray.motion.rotations import axis_angle_to_matrix, geodesic_distance, sixd_to_matrix
from gestray.motion.skeleton import FACE
from gestray.store import Folder
from gestray.tokenizers.config import TokenizerTraining, preset
from gestray.tokenizers.model import MotionTokenizer
from gestray.tokenizers.parts import PARTS
from gestray.tokenizers.quantizer import BEAM, Quantizer
from gestray.training.checkpoint import MODEL, save_config, save_model


def small(name: str = "sma", **changes) -> MotionTokenizer:
    torch.manual_seed(0)
    sizes = {"width": 16, "code_dim": 8, "codebook_size": 16, "quantizers": 3, "depth": 1}
    return MotionTokenizer(preset(name).model.model_copy(update=sizes | changes))


def motion(clips: int, frames: int) -> dict[str, torch.Tensor]:
    """Random motion by the columns of a take."""
    return {
        "poses": torch.randn(clips, frames, 165) * 0.3,
        "trans": torch.randn(clips, frames, 3).cumsum(1) * 0.01,
        "expressions": torch.randn(clips, frames, 100) * 0.5,
    }


def started(model: MotionTokenizer) -> MotionTokenizer:
    """Its codebooks have been started from data, and its blocks do something."""
    for name, parameter in model.named_parameters():
        if name.endswith("last.weight"):
            torch.nn.init.normal_(parameter, std=0.1)
    clip = motion(8, 64)
    model.start([{name: clip[name] for name in model.columns}])
    return model.eval()


@pytest.fixture(scope="module")
def trained() -> MotionTokenizer:
    return started(small())


@pytest.fixture(scope="module")
def whole() -> MotionTokenizer:
    """A tokenizer of the whole person, decodable as a stream."""
    return started(small("semtalk", causal=True, depth=2))


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
    assert geodesic_distance(again, whole.frames.rotations).max() < 1e-3


def test_a_whole_person_is_rebuilt_as_the_forward_pass_does(whole):
    clip = motion(2, 32)
    clip["trans"] -= clip["trans"][:, :1]
    with torch.no_grad():
        rebuilt = whole(**clip)
    assert {part: tuple(codes.shape) for part, codes in rebuilt.codes.items()} == {
        part: (2, 8, 3) for part in ("face", "upper", "hands", "lower")
    }
    decoded = whole.decode_motion(rebuilt.codes)
    again = axis_angle_to_matrix(decoded.poses.unflatten(-1, (55, 3)))
    assert geodesic_distance(again, rebuilt.frames.rotations).max() < 1e-3
    torch.testing.assert_close(decoded.translation, rebuilt.frames.extras["translation"])
    torch.testing.assert_close(decoded.expressions, rebuilt.frames.extras["expressions"])
    torch.testing.assert_close(decoded.contacts, rebuilt.frames.extras["contacts"].sigmoid())


def test_codes_do_not_depend_on_where_in_the_room_a_clip_is(whole):
    clip = motion(1, 32)
    moved = clip | {"trans": clip["trans"] + torch.tensor([3.0, -1.0, 2.0])}
    codes = whole.encode(**clip)
    assert all(torch.equal(codes[part], there) for part, there in whole.encode(**moved).items())


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_stream_decoded_chunk_by_chunk_is_the_whole(whole, lengths):
    torch.manual_seed(sum(lengths))
    tokens = sum(lengths)
    codes = {part: torch.randint(0, 16, (2, tokens, 3)) for part in whole.config.parts}
    at_once = whole.decode_motion(codes)
    edges = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    chunks = [
        {part: c[:, first:last] for part, c in codes.items()}
        for first, last in itertools.pairwise(edges)
    ]
    pieces = list(whole.decode_stream(chunks))
    assert [piece.poses.shape[1] for piece in pieces] == [4 * length for length in lengths]
    for name in ("translation", "contacts", "expressions"):
        joined = torch.cat([getattr(piece, name) for piece in pieces], dim=1)
        torch.testing.assert_close(joined, getattr(at_once, name), rtol=1e-4, atol=1e-5)
    turned = axis_angle_to_matrix(torch.cat([p.poses for p in pieces], 1).unflatten(-1, (55, 3)))
    expected = axis_angle_to_matrix(at_once.poses.unflatten(-1, (55, 3)))
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-4)


def test_a_causal_tokenizer_does_not_look_ahead(whole):
    """Later motion changes no earlier token; without `causal` it does."""
    seeing = started(small("semtalk", depth=2))
    for model, hears_ahead in ((whole, False), (seeing, True)):
        clip, other = motion(4, 64), motion(4, 64)
        mixed = {name: torch.cat([clip[name][:, :32], other[name][:, 32:]], 1) for name in clip}
        mixed["trans"][:, 32:] += clip["trans"][:, 31:32] - other["trans"][:, 31:32]
        one = model.encode(**{name: clip[name] for name in model.columns})
        two = model.encode(**{name: mixed[name] for name in model.columns})
        # The contact of a token's last frame is that of its step into the next token.
        differs = [not torch.equal(c[:, :7], two[part][:, :7]) for part, c in one.items()]
        assert any(differs) == hears_ahead


def test_only_a_causal_tokenizer_decodes_a_stream(trained):
    with pytest.raises(UserError, match=r"model\.causal=true"):
        next(trained.decode_stream([trained.encode(torch.zeros(1, 8, 165))]))


def test_fewer_levels_are_a_coarser_motion(trained):
    poses = torch.randn(4, 32, 165) * 0.3
    codes = trained.encode(poses)
    first = {part: c[..., :1] for part, c in codes.items()}
    masked = {part: c.masked_fill(torch.arange(3) > 0, -1) for part, c in codes.items()}
    torch.testing.assert_close(trained.decode(first), trained.decode(masked))
    assert not torch.equal(trained.decode(first), trained.decode(codes))


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
    first = a(poses, step=5)
    torch.manual_seed(2)
    second = b(poses, step=5)
    assert torch.equal(first.codes["hands"], second.codes["hands"])
    assert torch.equal(first.frames.rotations, second.frames.rotations)


def test_the_start_is_the_principal_components_of_the_first_batches():
    """With as many dimensions as the motion has, reconstruction is exact before any step."""
    poses = torch.zeros(4, 32, 165)
    ways = torch.randn(3, 165) * 0.1  # three ways to move: small angles are linear in 6D
    ways[:, 66:75] = 0  # the face is no part
    amounts = torch.randn(4, 8, 3).repeat_interleave(4, dim=1) * 0.1
    poses += amounts @ ways
    model = small()
    model.start([{"poses": poses[:2]}, {"poses": poses[2:]}])
    stream = model.streams["body"]
    with torch.no_grad():
        recorded = model._recorded({"poses": poses})
        rebuilt = stream.frames(stream._latent(stream._patches(recorded)))
    truth = recorded.rotations[:, :, :22]
    furthest = geodesic_distance(truth, torch.eye(3).expand_as(truth)).max()
    assert geodesic_distance(sixd_to_matrix(rebuilt.sixd), truth).max() < 0.03 * furthest


def test_codes_are_the_best_of_all_where_the_beam_holds_every_first_code():
    torch.manual_seed(0)
    quantizer = Quantizer(dim=3, levels=2, size=BEAM, decay=0.9, dead_below=0.2, dropout=0.0)
    first, second = (book.embed.copy_(torch.randn(1, BEAM, 3))[0] for book in quantizer.codebooks)
    vectors = torch.randn(2, 50, 3)
    codes = quantizer.encode(vectors)
    pairs = (first[:, None] + second).flatten(0, 1)
    nearest = (vectors[..., None, :] - pairs).norm(dim=-1).amin(-1)
    torch.testing.assert_close((vectors - quantizer.decode(codes)).norm(dim=-1), nearest)
    # One level after the other would do worse.
    greedy = (vectors[..., None, :] - first).norm(dim=-1).argmin(-1)
    assert (codes[..., 0] != greedy).any()


def test_with_a_beam_of_one_codes_are_the_librarys():
    torch.manual_seed(0)
    quantizer = Quantizer(dim=3, levels=3, size=16, decay=0.9, dead_below=0.2, dropout=0.0)
    for scale, book in zip((1.0, 0.4, 0.1), quantizer.codebooks, strict=True):
        book.embed.copy_(scale * torch.randn(1, 16, 3))
    vectors = torch.randn(2, 50, 3)
    _, codes, _ = quantizer.eval()(vectors, step=0)
    assert torch.equal(quantizer.encode(vectors, beam=1), codes)


def test_codebooks_start_with_something_left_for_every_level():
    """Each level of a start from many vectors a code halves what is left of unseen ones, or so."""
    torch.manual_seed(0)
    vectors, unseen = torch.randn(2048, 4), torch.randn(1, 512, 4)
    quantizer = Quantizer(dim=4, levels=3, size=32, decay=0.9, dead_below=0.2, dropout=0.5)
    quantizer.start(vectors, batches=4)
    _, codes, _ = quantizer.eval()(unseen, step=0)
    left = [(unseen - quantizer.decode(codes[..., :n])).square().mean() for n in (1, 2, 3)]
    assert left[0] < 0.3 and left[1] < 0.4 * left[0] and left[2] < 0.4 * left[1]
    for codebook in quantizer.codebooks:
        assert codebook.cluster_size.sum() == 512  # the vectors of one batch
        assert codebook.decay == 0.9


def test_dead_codes_move_to_where_the_data_are():
    varied, constant = torch.randn(8, 64, 165) * 0.3, torch.zeros(8, 64, 165)
    farthest = {}
    for dead_below in (0.0, 1.0):
        model = small(dead_below=dead_below, ema_decay=0.5, quantizer_dropout=0.0)
        model.start([{"poses": varied}])
        for step in range(1, 8):
            model.train()(constant, step=step)
        stream = model.streams["body"]
        with torch.no_grad():
            recorded = model._recorded({"poses": torch.zeros(1, 64, 165)})
            vectors = stream._latent(stream._patches(recorded))[0]
        codes = stream.quantizer.codebooks[0].embed[0]
        farthest[dead_below] = torch.cdist(codes, vectors).min(dim=1).values.max()
    assert farthest[1.0] < 0.1 * farthest[0.0]


def test_a_saved_tokenizer_is_the_same_tokenizer(trained, tmp_path, monkeypatch):
    """Also where parts have come to weigh their joints otherwise."""
    folder = Folder(str(tmp_path))
    save_model(tmp_path / MODEL, trained)
    save_config(trained.config, folder)
    poses = torch.randn(1, 40, 165)
    for name in trained.config.parts:
        monkeypatch.setitem(PARTS, name, replace(PARTS[name], emphasis={0: 5.0}))
    loaded = MotionTokenizer.from_folder(folder)
    assert all(
        torch.equal(codes, trained.encode(poses)[part])
        for part, codes in loaded.encode(poses).items()
    )


def _three_steps(clips: list[dict[str, torch.Tensor]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Codebooks and their use after three steps, of all streams."""
    model = small("semtalk", quantizer_dropout=0.0).train()
    for step, clip in enumerate(clips):
        model(**clip, step=step)
    books = [book for stream in model.streams.values() for book in stream.quantizer.codebooks]
    return [(book.embed.clone(), book.cluster_size.clone()) for book in books]


def _rank(rank: int, address: str, clips: list[dict[str, torch.Tensor]], results) -> None:
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    half = [{name: values.chunk(2)[rank] for name, values in clip.items()} for clip in clips]
    results[rank] = _three_steps(half)
    dist.destroy_process_group()


def test_codebooks_are_the_same_on_two_ranks_as_on_one(tmp_path):
    """k-means start, moving averages and dead-code draws over the global batch."""
    clips = [motion(16, 32) for _ in range(3)]
    alone = _three_steps(clips)
    results = mp.get_context("spawn").Manager().dict()
    mp.spawn(_rank, (f"file://{tmp_path}/rendezvous", clips, results), nprocs=2)
    for rank in (0, 1):
        for (embed, size), (expected, expected_size) in zip(results[rank], alone, strict=True):
            torch.testing.assert_close(embed, expected, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(size, expected_size, rtol=1e-4, atol=1e-5)


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


def test_motion_that_is_not_finite_is_refused(whole):
    clip = motion(2, 16)
    clip["expressions"][1, 7, 3] = torch.nan
    with pytest.raises(UserError, match="expressions are not finite \\(first in clip 1, frame 7"):
        whole.encode(**clip)


def test_a_part_without_what_it_is_made_of_is_refused(whole):
    clip = motion(1, 16)
    with pytest.raises(UserError, match="no expressions are given, and part 'face' is made of"):
        whole.encode(clip["poses"], clip["trans"])
    with pytest.raises(UserError, match=r"trans have shape \(1, 12, 3\), expected \(1, 16\)"):
        whole.encode(clip["poses"], clip["trans"][:, :12], clip["expressions"])


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ({"face": torch.zeros(1, 2, 3)}, r"\['face'\], but the tokenizer has \['body', 'hands'\]"),
        ({"body": torch.zeros(1, 2, 3), "hands": torch.zeros(1, 3, 3)}, "the same of each part"),
        ({"body": torch.zeros(1, 2, 4), "hands": torch.zeros(1, 2, 4)}, "at most 3 levels"),
        ({"body": torch.zeros(1, 0, 3), "hands": torch.zeros(1, 0, 3)}, "at least one token"),
        (
            {"body": torch.zeros(1, 2, 3), "hands": torch.full((1, 2, 3), 16)},
            r"'hands' hold 16 \(clip 0, token 0, level 0\), expected 0 to 15",
        ),
    ],
)
def test_codes_that_do_not_fit_are_refused(trained, codes, message):
    with pytest.raises(UserError, match=message):
        trained.decode({part: values.long() for part, values in codes.items()})


def test_configs_that_do_not_fit_say_what_to_change():
    base = preset("sma").model_dump()
    for changes, message in (
        ({"model.parts": ["body", "torso"]}, "'model.parts.1': found 'torso'.*'upper'"),
        ({"model.parts": ["body", "upper"]}, "'body' and 'upper' share joints"),
        ({"model.parts": []}, "parts are empty, expected some of body, hands"),
        ({"windows.seconds": 1.0}, r"30 frames, expected a multiple .* windows.seconds=1.0667"),
    ):
        with pytest.raises(UserError, match=message):
            make_config(TokenizerTraining, with_overrides(base, changes))
    with pytest.raises(UserError, match="unknown; known: sma, semtalk, semges"):
        preset("sam")


@pytest.mark.parametrize("size", ["small", "paper"])
def test_presets_have_the_papers_shapes(size):
    sma, semtalk, semges = (preset(name, size) for name in ("sma", "semtalk", "semges"))
    assert sma.model.parts == semges.model.parts == ("body", "hands")
    assert semtalk.model.parts == ("face", "upper", "hands", "lower")
    assert semges.model.quantizers == 1
    assert (sma.windows.frames, semges.windows.frames) == (64, 68)
    assert semges.windows.frames - semges.windows.stride == 8  # 4 frames at 15 a second
    if size == "paper":
        model = semtalk.model
        assert (model.quantizers, model.codebook_size, model.code_dim) == (6, 256, 256)
        assert (model.width, model.depth, model.frames_per_token) == (256, 3, 4)
        assert (semges.model.codebook_size, semges.model.code_dim) == (256, 512)


def test_codes_move_as_the_library_moves_them():
    """To the bit on one rank, dead codes and dropped levels included."""

    def learnt(library: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        made = Quantizer(dim=6, levels=3, size=16, decay=0.8, dead_below=0.5, dropout=0.5)
        quantizer = made.train()
        for step in range(12):
            vectors = torch.randn(4, 10, 6, generator=torch.Generator().manual_seed(step))
            if not library:
                quantizer(vectors, step)
                continue
            quantizer._draws.seed = step
            dropped = random.Random(f"dropout/{step}").random() < 0.5
            quantizer.residual.quantize_dropout = dropped
            quantizer.residual(vectors, rand_quantize_dropout_fixed_seed=step)
        return quantizer.state_dict()

    expected, found = learnt(library=True), learnt(library=False)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
