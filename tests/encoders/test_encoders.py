"""The dual encoder: what its embeddings depend on, and what they must not."""

from __future__ import annotations

import math
import threading

import pytest
import torch
from torch.nn import functional as F

from gestray.encoders.config import PRESETS, EncoderConfig, preset
from gestray.encoders.model import DualEncoder
from gestray.encoders.task import EncoderTask, pad_audio, pad_poses
from gestray.encoders.towers.encoded import Pooling, attend, pool_spans, transformer
from gestray.encoders.towers.motion import GESTURE_JOINTS, wrist_places
from gestray.encoders.towers.speech import SpeechTower, log_mel
from gestray.encoders.towers.text import TextEncoder
from gestray.errors import UserError
from gestray.motion.kinematics import forward_kinematics
from gestray.motion.rotations import axis_angle_to_matrix
from gestray.motion.skeleton import joint
from gestray.tokenizers.config import TokenizerConfig

SMALL_TOKENIZER = TokenizerConfig(
    quantizers=2, codebook_size=8, code_dim=8, width=16, depth=2, frames_per_token=4
)


def model_of(name: str, **changes: object) -> EncoderConfig:
    """A preset's model with small towers."""
    values = preset(name).model.model_dump()
    values["dim"] = 16
    for tower in ("motion", "text"):
        layers = min(values[tower]["layers"], 1)
        values[tower] |= {"heads": 2, "layers": layers, "dropout": 0.0}
    values["motion"] |= {"width": 16, "feedforward": 16}
    values["speech"] |= {"channels": (4, 4), "dropout": 0.0}
    if values["motion"]["input"] == "tokens":
        values["motion"]["tokenizer"] = SMALL_TOKENIZER
    return EncoderConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def encoder() -> DualEncoder:
    torch.manual_seed(0)
    return DualEncoder(preset("sma").model).eval()


def some_batch(count: int, seed: int = 0) -> dict:
    """A batch as `EncoderTask.collate` makes it, of phrases of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    texts = ["I have no idea", "come here", "a big ball over there", "stop", "two of them now"]
    texts = [texts[number % 5] + " well" * (number // 5) for number in range(count)]
    words = [text.split() for text in texts]
    frames = [30 + 7 * number for number in range(count)]
    motions = [torch.randn(n, 165, generator=generator).mul(0.3).numpy() for n in frames]
    sounds = [
        torch.randn(round(n / 30 * 16000), generator=generator).mul(3000).short().numpy()
        for n in frames
    ]
    poses, lengths = pad_poses([motion.tobytes() for motion in motions], 300)
    waveform, samples = pad_audio([sound.tobytes() for sound in sounds])
    spans = torch.full((count, max(map(len, words)), 2), math.nan)
    for row, said, n in zip(spans, words, frames, strict=True):
        edges = torch.linspace(0, n / 30, len(said) + 1)
        row[: len(said)] = torch.stack([edges[:-1], edges[1:]], dim=1)
    batch = {
        "poses": poses,
        "frames": lengths,
        "text": texts,
        "words": words,
        "spans": spans,
        "word_count": torch.tensor([len(said) for said in words]),
        "waveform": waveform,
        "samples": samples,
    }
    for kind in ("text", "form", "intent"):
        batch |= {kind: texts, f"{kind}_key": torch.arange(count)}
        batch[f"{kind}_weight"] = torch.ones(count)
    return batch


def cut(batch: dict, row: int) -> dict:
    """One sample of a batch, without the padding the others made."""
    one = {name: values[row : row + 1] for name, values in batch.items()}
    one["poses"] = one["poses"][:, : one["frames"][0]]
    one["spans"] = one["spans"][:, : one["word_count"][0]]
    one["waveform"] = one["waveform"][:, : one["samples"][0]]
    return one


@pytest.mark.parametrize("name", PRESETS)
def test_how_far_others_reach_does_not_show(name):
    """In no embedding of any method: of phrases, frames, words or moments."""
    torch.manual_seed(0)
    model = DualEncoder(model_of(name)).eval()
    batch = some_batch(3)
    together = model(batch)
    motion, frames, real = model.gestures(batch["poses"], batch["frames"])
    for row in range(3):
        one = cut(batch, row)
        for key, value in model(one).items():
            expected = together[key][row : row + 1]
            if value.ndim > 1:
                expected = expected[:, : value.shape[1]]
            torch.testing.assert_close(value, expected, atol=2e-5, rtol=0, msg=f"{name} {key}")
        alone, alone_frames, _ = model.gestures(one["poses"], one["frames"])
        torch.testing.assert_close(alone[0], motion[row], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone_frames[0], frames[row][real[row]], atol=1e-5, rtol=0)
        assert alone.norm().item() == pytest.approx(1, abs=1e-5)
        for query in model.queries:
            said, among = model.query(one, query), model.query(batch, query)
            torch.testing.assert_close(said.pooled[0], among.pooled[row], atol=2e-5, rtol=0)


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


def test_wrists_are_where_forward_kinematics_puts_them():
    torch.manual_seed(0)
    rotations = axis_angle_to_matrix(torch.randn(2, 5, 55, 3))
    rotations[:, :, 0] = torch.eye(3)  # the pelvis upright
    at = forward_kinematics(rotations)[0]
    expected = (
        at[..., [joint("left_wrist"), joint("right_wrist")], :] - at[..., [joint("spine3")], :]
    )
    found = wrist_places(rotations[:, :, list(GESTURE_JOINTS)])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


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


def test_words_are_the_means_of_their_tokens(encoder):
    """Against the text model's own hidden states and the tokens' places in the text."""
    text = "unbelievable gesticulations everywhere"
    vectors, real = encoder.text.words([text.split(), ["yes"]], torch.device("cpu"))
    assert real.tolist() == [[True] * 3, [True, False, False]]
    tokens = encoder.text._tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
    places = tokens.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        hidden = encoder.text.backbone(**tokens).last_hidden_state[0]
    for word, vector in zip(text.split(), vectors[0], strict=True):
        first, last = text.index(word), text.index(word) + len(word)
        own = [i for i, (a, b) in enumerate(places) if first <= a < b <= last]
        assert len(own) > 1 or word != "gesticulations"
        torch.testing.assert_close(vector, hidden[own].mean(0), atol=1e-5, rtol=1e-4)


def test_a_frozen_text_model_is_neither_trained_nor_stored(encoder):
    assert not [name for name in encoder.state_dict() if "backbone" in name]


def test_texts_encoded_at_once_are_as_one_by_one_and_not_kept(encoder):
    texts = ["gesticulations", "so", f"the words of {__name__}", "big", "so"]
    found = encoder.text.at_once(texts)
    assert texts[2] not in encoder.text._known.sentences
    torch.testing.assert_close(found, encoder.text(texts, torch.device("cpu")), atol=1e-5, rtol=0)
    assert torch.equal(found, encoder.text.at_once(texts))
    assert encoder.text.at_once([]).shape == (0, encoder.text.width)


def test_what_was_kept_while_inferring_can_be_learnt_from_and_forgotten_at_any_time():
    text = f"a sentence of {__name__}"
    first, second = (DualEncoder(preset("direct").model) for _ in range(2))
    with torch.inference_mode():
        inferred = first.eval().embed_text([text])
    second.embed_text([text]).sum().backward()
    stop = threading.Event()

    def forget() -> None:
        while not stop.is_set():
            first.text.forget()

    forgetful = threading.Thread(target=forget)
    forgetful.start()
    try:
        for _ in range(20):
            torch.testing.assert_close(first.embed_text([text]), inferred)
    finally:
        stop.set()
        forgetful.join()


def test_low_rank_changes_start_at_nothing_and_alone_are_learnt():
    config = preset("direct").model.text.model_copy(update={"train": "lora", "rank": 2})
    frozen = TextEncoder(config.model_copy(update={"train": "frozen"}))
    lora = TextEncoder(config).eval()
    device = torch.device("cpu")
    torch.testing.assert_close(lora(["come here"], device), frozen(["come here"], device))
    learnt = {name for name, value in lora.named_parameters() if value.requires_grad}
    assert learnt and all(".up." in name or ".down." in name for name in learnt)
    lora(["come here"], device).sum().backward()
    assert all(p.grad is not None for p in lora.parameters() if p.requires_grad)


def test_log_mel_places_tones_and_silence():
    """A tone's energy is in the band whose filter has its frequency; silence is at -1.5."""
    seconds = torch.arange(16000) / 16000
    tone = 0.5 * torch.sin(2 * math.pi * 1000 * seconds)[None]
    mel = log_mel(tone)
    assert mel.shape == (1, 80, 100)
    # On Slaney's scale 1000 Hz is 15 mel, of 45.245 at 8 kHz in 81 steps.
    assert mel[0, :, 50].argmax().item() == round(15 / 45.245 * 81) - 1
    assert log_mel(torch.zeros(1, 16000)).unique().item() == pytest.approx(-1.5)


def test_a_sound_shows_where_it_is():
    torch.manual_seed(0)
    tower = SpeechTower(preset("jegal").model.speech, 16).eval()
    quiet = torch.zeros(1, 32000)
    loud = quiet.clone()
    loud[:, 16000:19200] = torch.randn(3200) * 0.3
    samples = torch.tensor([32000])
    changed = (tower(loud, samples).steps - tower(quiet, samples).steps).abs().amax(-1)[0] > 1e-4
    times = changed.nonzero()[:, 0] / tower.rate
    assert tower.rate == 25
    assert 0.8 <= times.min() <= 1.0 and 1.2 <= times.max() <= 1.4


def test_what_motion_looks_like_is_taken_off_it():
    """Mean 0 and spread 1 of what is real, whatever the padding; of what never moves, nothing."""
    torch.manual_seed(0)
    tower = DualEncoder(model_of("direct")).motion
    batch = some_batch(4)
    motion = (batch["poses"], batch["frames"])
    tower.start([motion])
    patches, real = tower.patches(*motion), tower.real(*motion)
    assert patches[~real].abs().max() == 0
    moving = tower.spread > 0.06
    assert moving.any() and tower.spread.min() == pytest.approx(0.05)
    torch.testing.assert_close(patches[real].mean(0), torch.zeros(len(moving)), atol=1e-4, rtol=0)
    spread = patches[real].std(0, correction=0)[moving]
    torch.testing.assert_close(spread, torch.ones(len(spread)), atol=1e-3, rtol=0)


def test_pooling_of_spans_weighs_by_overlap():
    steps = torch.tensor([[[0.0], [10.0], [20.0], [30.0]]])
    real = torch.tensor([[True, True, True, False]])
    spans = torch.tensor([[[0.0, 1.0], [0.5, 2.0], [9.0, 9.5], [math.nan, math.nan]]])
    pooled = pool_spans(steps, real, spans, rate=1.0)
    # The whole first; half of it and all of the second; the last real one; all of them.
    assert pooled[0, :, 0].tolist() == pytest.approx([0.0, 20 / 3, 20.0, 10.0])


def test_rows_of_like_length_attend_together_as_they_do_in_one_batch():
    """Embeddings and gradients, for batches that part evenly and others, padded far and not."""
    torch.manual_seed(0)
    layers = transformer(8, 2, 2, 16, dropout=0.0).double()
    for lengths in ([5, 1, 7, 3, 9, 2], [4] * 8, [11, 2, 6, 1, 1]):
        real = torch.arange(12) < torch.tensor(lengths)[:, None]
        x = torch.randn(len(lengths), 12, 8, dtype=torch.float64, requires_grad=True)
        parted, whole = attend(layers, x, real)[real], layers(x, src_key_padding_mask=~real)[real]
        torch.testing.assert_close(parted, whole, rtol=1e-12, atol=1e-12)
        weights = torch.randn_like(whole)
        gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (parted, whole)]
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_pools():
    x = torch.tensor([[[1.0, 5.0], [3.0, -1.0], [99.0, 99.0]]])
    real = torch.tensor([[True, True, False]])
    assert Pooling("mean", 2)(x, real).tolist() == [[2.0, 2.0]]
    assert Pooling("max", 2)(x, real).tolist() == [[3.0, 5.0]]
    attention = Pooling("attention", 2)
    weights = F.softmax(attention.query(x[0, :2]), dim=0)
    torch.testing.assert_close(attention(x, real)[0], (weights * x[0, :2]).sum(0))


def test_anchors_are_read_by_the_tower_that_reads_transcripts():
    """Only where they supervise; their sentences are embedded as any text is."""
    torch.manual_seed(0)
    model = DualEncoder(model_of("sma")).eval()
    batch = some_batch(2) | {"form": ["a fist", "both hands"], "intent": ["to stop", "to show"]}
    found = model(batch)
    assert torch.equal(found["form"], model.embed_text(["a fist", "both hands"]))
    assert torch.equal(found["intent"], model.embed_text(["to stop", "to show"]))
    direct = DualEncoder(model_of("direct"))
    assert not {"form", "intent"} & set(direct(batch))
    assert direct.state_dict().keys() == model.state_dict().keys()


def test_what_a_method_lacks_it_says():
    deaf = DualEncoder(model_of("direct"))
    with pytest.raises(UserError, match="does not listen"):
        deaf.query(some_batch(1), "speech")
    mute = DualEncoder(model_of("gestsync"))
    with pytest.raises(UserError, match="does not read"):
        mute.embed_text(["come here"])
    assert mute.queries == ("speech",)
    assert DualEncoder(model_of("jegal")).queries == ("text", "speech", "text+speech")


@pytest.mark.parametrize("fusion", ["concatenation", "average", "pairs"])
def test_a_phrase_without_one_of_text_and_speech_is_embedded_by_the_other(fusion):
    """Changing what is not used changes nothing; changing what is used does."""
    torch.manual_seed(0)
    model = DualEncoder(model_of("jegal", fusion=fusion)).eval()
    batch, other = some_batch(2), some_batch(2, seed=1)
    heard = {**batch, "waveform": other["waveform"]}
    assert torch.equal(model.query(batch, "text").pooled, model.query(heard, "text").pooled)
    for query in ("speech", "text+speech"):
        changed = model.query(batch, query).pooled - model.query(heard, query).pooled
        assert changed.norm() > 1e-4
    read = {**batch, "words": [["other"] * len(words) for words in batch["words"]]}
    assert torch.equal(model.query(batch, "speech").pooled, model.query(read, "speech").pooled)


def test_modality_dropout_drops_one_of_the_two():
    torch.manual_seed(0)
    model = DualEncoder(model_of("jegal", modality_dropout=0.5))
    kept = model._kept(torch.ones(4000, 1, dtype=torch.bool))
    assert kept.sum(1).min() == 1
    shares = [
        ((kept == torch.tensor(row)).all(1)).float().mean() for row in ([1, 1], [0, 1], [1, 0])
    ]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.03)


@pytest.mark.s3
@pytest.mark.parametrize("where", ["folder", "s3"])
def test_a_saved_encoder_is_the_same_encoder(where, tmp_path, monkeypatch, request):
    uri = str(tmp_path / "encoder")
    if where == "s3":
        for name, value in request.getfixturevalue("s3").items():
            monkeypatch.setenv(name, value)
        uri = "s3://gestray/encoders/saved"
    torch.manual_seed(0)
    model = DualEncoder(model_of("gesturediffuclip")).eval()
    model.save_pretrained(uri)
    loaded = DualEncoder.from_pretrained(uri)
    assert not loaded.training
    batch = some_batch(2)
    assert torch.equal(loaded.embed_text(["come here"]), model.embed_text(["come here"]))
    assert torch.equal(
        loaded.embed_motion(batch["poses"], batch["frames"]),
        model.embed_motion(batch["poses"], batch["frames"]),
    )


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(UserError, match="known: direct, tmr, gesturediffuclip, gestsync"):
        preset("tmrr")


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", ["small", "paper"])
def test_presets_say_what_they_are_made_of(name, size):
    training = preset(name, size)
    assert training.model.objectives.needs_anchors == (name == "sma")
    assert training.model.hears == (name in ("gestsync", "jegal"))
    assert (training.model.text.train == "frozen") or size == "paper"


def test_a_task_reads_phrases_of_the_training_split():
    assert EncoderTask(preset("direct")).view().split == "train"
