"""The motion tokenizer: motion to discrete tokens and back, one stream a part.

What goes in is checked here and what comes out put together; networks and codes are a
`Stream`'s. A paper is a `TokenizerConfig`.

Shapes: B batch, T frames, K tokens (T / frames_per_token), Q quantizer levels,
J joints of a part, D width of a code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from gestray.errors import UserError
from gestray.motion.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_sixd,
    sixd_to_matrix,
)
from gestray.store import Folder
from gestray.tokenizers.config import TokenizerConfig
from gestray.tokenizers.parts import (
    EXTRA_WIDTHS,
    NUM_JOINTS,
    PARTS,
    Extra,
    Frames,
    PartFrames,
    columns_of,
    foot_contacts,
)
from gestray.tokenizers.quantizer import BEAM
from gestray.tokenizers.stream import Blocks, Stream
from gestray.training.checkpoint import load_pretrained


@dataclass(frozen=True)
class Motion:
    """Decoded motions of one length.

    Args:
        poses: axis-angle (B, T, 165); joints of no part are at rest.
        translation: in metres from where the clip begins (B, T, 3), None where no part has it.
        contacts: probability that each of `parts.FEET` stands (B, T, 4), or None.
        expressions: FLAME (B, T, 100), or None.
    """

    poses: Tensor
    translation: Tensor | None = None
    contacts: Tensor | None = None
    expressions: Tensor | None = None

    def last(self, frames: int) -> Motion:
        """The last frames alone."""
        parts = {name: getattr(self, name) for name in ("translation", "contacts", "expressions")}
        tails = {name: None if x is None else x[:, -frames:] for name, x in parts.items()}
        return Motion(self.poses[:, -frames:], **tails)


@dataclass(frozen=True)
class Reconstruction:
    """What the tokenizer gives back of a motion, for losses.

    Args:
        frames: rebuilt; joints of no part are at rest.
        recorded: the same of the input, which the rebuilt ones should equal.
        codes: per part (B, K, Q), −1 where a level was dropped.
        commitment: scalar loss.
    """

    frames: Frames
    recorded: Frames
    codes: dict[str, Tensor]
    commitment: Tensor


class MotionTokenizer(nn.Module):
    """Streams of tokens for parts of the body; see `TokenizerConfig`.

    Motion goes in as tensors by the names of a take's columns: `poses` (B, T, 165),
    `trans` (B, T, 3) where a part has translation, `expressions` (B, T, 100) where one
    has a face.

    Attributes:
        beam: stacks of codes that `encode` follows (`Quantizer.encode`); fewer are found faster,
            and are farther from the motion.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.beam = BEAM
        self.columns = columns_of(config.parts)
        self.streams = nn.ModuleDict({part: Stream(PARTS[part], config) for part in config.parts})

    def forward(
        self,
        poses: Tensor,
        trans: Tensor | None = None,
        expressions: Tensor | None = None,
        step: int = 0,
    ) -> Reconstruction:
        """Encode, quantize and decode.

        Args:
            poses: axis-angle (B, T, 165), T a multiple of `frames_per_token`.
            trans: metres (B, T, 3) from where the clip, or the take it is of, begins.
            expressions: (B, T, 100).
            step: of training, from 0; seeds the quantizer's random draws.
        """
        motion = self._checked(poses, trans, expressions, whole_tokens=True)
        return self._rebuild(self._recorded(motion), step)

    @torch.no_grad()
    def start(self, motions: Sequence[Mapping[str, Tensor]]) -> None:
        """Set layers and codebooks from data: what training starts from.

        Args:
            motions: batches as for `forward`, as many on every rank.
        """
        recorded = [
            self._recorded(
                self._checked(motion["poses"], motion.get("trans"), motion.get("expressions"), True)
            )
            for motion in motions
        ]
        for _, stream in self.parts():
            stream.start(recorded)

    @torch.no_grad()
    def codebook_use(self) -> Tensor:
        """`Quantizer.use`, a mean over the parts."""
        return torch.stack([stream.quantizer.use() for _, stream in self.parts()]).mean()

    def encode(
        self, poses: Tensor, trans: Tensor | None = None, expressions: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Codes per part, int64 (B, K, Q), of motion (B, T, 165) of any length.

        Translation counts from the clip's first frame. A length that is no multiple of
        `frames_per_token` is filled up by holding the last frame.

        Raises:
            UserError: a shape is not as expected, a value is not finite, or a part lacks its
                translation or expressions.
        """
        motion = self._checked(poses, trans, expressions, whole_tokens=False)
        for name, values in motion.items():
            if not values.isfinite().all():
                clip, frame = (~values.isfinite()).any(-1).nonzero()[0].tolist()
                raise UserError(
                    f"{name} are not finite (first in clip {clip}, frame {frame}); "
                    "leave the damaged frames out or ingest the recording, which quarantines it"
                )
        if "trans" in motion:
            motion["trans"] = motion["trans"] - motion["trans"][:, :1]
        missing = -poses.shape[1] % self.config.frames_per_token
        if missing:
            motion = {
                name: torch.cat([values, values[:, -1:].expand(-1, missing, -1)], dim=1)
                for name, values in motion.items()
            }
        recorded = self._recorded(motion)
        return {part: s.encode(s.features(recorded), self.beam) for part, s in self.parts()}

    @torch.no_grad()
    def vectors(self, codes: dict[str, Tensor]) -> dict[str, Tensor]:
        """Codebook vectors (B, K, D) of codes per part (B, K, L), summed over their levels."""
        self._check_codes(codes)
        return {part: stream.quantizer.decode(codes[part]) for part, stream in self.parts()}

    @torch.no_grad()
    def codes_of(
        self, poses: Tensor, trans: Tensor | None = None, expressions: Tensor | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Of windows of longer motions, weighted features (B, T, C) and codes (B, K, Q) per part.

        Unlike `encode`, translation counts from where it says.
        """
        recorded = self._recorded(self._checked(poses, trans, expressions, whole_tokens=True))
        features = {part: stream.features(recorded) for part, stream in self.parts()}
        codes = {part: s.encode(features[part], self.beam) for part, s in self.parts()}
        return features, codes

    def decode(self, codes: dict[str, Tensor]) -> Tensor:
        """Poses, axis-angle (B, T, 165), of codes: those of `decode_motion`."""
        return self.decode_motion(codes).poses

    @torch.no_grad()
    def decode_motion(self, codes: dict[str, Tensor]) -> Motion:
        """The motion of codes per part (B, K, L), of the first L levels.

        Raises:
            UserError: the codes are of other parts, shapes or codebooks.
        """
        return as_motion(self.frames_of(self.vectors(codes)))

    def frames_of(self, vectors: dict[str, Tensor], asked: slice = slice(None)) -> Frames:
        """Frames of vectors per part (B, K, D) in the place of those of codes, with gradients.

        Args:
            vectors: of all tokens that the decoder is to look at.
            asked: tokens whose frames are wanted.
        """
        return self._assemble({part: s.frames(vectors[part], asked) for part, s in self.parts()})

    @torch.no_grad()
    def decode_stream(self, chunks: Iterable[dict[str, Tensor]]) -> Iterator[Motion]:
        """Decode codes as they come: the frames of each chunk at once, as `decode_motion` has them.

        Each chunk (B, k, L) is decoded behind as many earlier tokens as the decoder looks
        back on, so time and memory of a chunk do not grow with what came before.

        Raises:
            UserError: the tokenizer is not causal, so that a frame depends on tokens to come.
        """
        if not self.config.causal:
            raise UserError(
                "this tokenizer looks ahead, so that frames depend on tokens to come; "
                "train one with model.causal=true to decode a stream"
            )
        reach = Blocks.reach(self.config.depth)
        past: dict[str, Tensor] = {}
        for chunk in chunks:
            self._check_codes(chunk)
            known = {
                part: torch.cat([past[part], codes], dim=1) if past else codes
                for part, codes in chunk.items()
            }
            new = next(iter(chunk.values())).shape[1] * self.config.frames_per_token
            motion = self.decode_motion(known)
            yield motion.last(new)
            past = {part: codes[:, -reach:] for part, codes in known.items()}

    @property
    def decoder_reach(self) -> tuple[int, int]:
        """Tokens before and after its own that a frame depends on."""
        back = Blocks.reach(self.config.depth)
        return (back, 0) if self.config.causal else (back // 2, back // 2)

    @classmethod
    def from_folder(cls, folder: Folder) -> MotionTokenizer:
        """Load a trained tokenizer, in evaluation mode on the CPU."""
        return load_pretrained(folder, cls, TokenizerConfig)

    def parts(self) -> Iterator[tuple[str, Stream]]:
        """Each part's name and stream."""
        for part, stream in self.streams.items():
            yield part, cast(Stream, stream)

    def _recorded(self, motion: dict[str, Tensor]) -> Frames:
        rotations = axis_angle_to_matrix(motion["poses"].unflatten(-1, (NUM_JOINTS, 3)))
        extras: dict[Extra, Tensor] = {}
        if "trans" in motion:
            extras["translation"] = motion["trans"]
            extras["contacts"] = foot_contacts(rotations, motion["trans"])
        if "expressions" in motion:
            extras["expressions"] = motion["expressions"]
        return Frames(rotations, extras)

    def _rebuild(self, recorded: Frames, step: int) -> Reconstruction:
        found, codes = {}, {}
        commitment = recorded.rotations.new_zeros(())
        for part, stream in self.parts():
            found[part], codes[part], stream_commitment = stream(recorded, step)
            commitment = commitment + stream_commitment
        frames = self._assemble(found)
        return Reconstruction(frames, recorded, codes, commitment / len(self.streams))

    def _assemble(self, found: dict[str, PartFrames]) -> Frames:
        """One motion of what the streams give back."""
        moved = [found[part].sixd for part, _ in self.parts()]
        at_rest = matrix_to_sixd(torch.eye(3, device=moved[0].device, dtype=moved[0].dtype))
        moved.append(at_rest.expand(*moved[0].shape[:2], 1, 6))
        joints = [joint for _, stream in self.parts() for joint in stream.part.joints]
        places = {joint: place for place, joint in enumerate(joints)}
        order = [places.get(joint, len(joints)) for joint in range(NUM_JOINTS)]
        sixd = torch.cat(moved, dim=2).index_select(2, torch.tensor(order, device=at_rest.device))
        extras: dict[Extra, Tensor] = {}
        for part, _ in self.parts():
            extras |= found[part].extras
        return Frames(sixd_to_matrix(sixd), extras)

    def _checked(
        self,
        poses: Tensor,
        trans: Tensor | None,
        expressions: Tensor | None,
        whole_tokens: bool,
    ) -> dict[str, Tensor]:
        """The motion that the parts are made of, by column."""
        given = {"poses": poses, "trans": trans, "expressions": expressions}
        widths = {
            "poses": NUM_JOINTS * 3,
            "trans": EXTRA_WIDTHS["translation"],
            "expressions": EXTRA_WIDTHS["expressions"],
        }
        motion = {}
        for name in self.columns:
            values = given[name]
            if values is None:
                needy = [part for part in self.config.parts if name in columns_of((part,))]
                raise UserError(
                    f"no {name} are given, and part {needy[0]!r} is made of them; give them "
                    f"or use a tokenizer without {needy[0]!r}"
                )
            if values.ndim != 3 or values.shape[-1] != widths[name]:
                raise UserError(
                    f"{name} have shape {tuple(values.shape)}, expected (B, T, {widths[name]})"
                )
            if values.shape[:2] != poses.shape[:2]:
                raise UserError(
                    f"{name} have shape {tuple(values.shape)}, expected {tuple(poses.shape[:2])} "
                    "clips and frames, as poses have"
                )
            motion[name] = values
        step = self.config.frames_per_token
        if poses.shape[1] < step or (whole_tokens and poses.shape[1] % step):
            raise UserError(
                f"poses have {poses.shape[1]} frames, expected "
                f"{'a multiple of' if whole_tokens else 'at least'} {step} (one token)"
            )
        return motion

    def _check_codes(self, codes: dict[str, Tensor]) -> None:
        if set(codes) != set(self.streams):
            raise UserError(
                f"codes are for parts {sorted(codes)}, but the tokenizer has {sorted(self.streams)}"
            )
        tokens = {part: tuple(values.shape[:2]) for part, values in codes.items()}
        if len(set(tokens.values())) > 1:
            raise UserError(f"codes have {tokens} clips and tokens, expected the same of each part")
        size, levels = self.config.codebook_size, self.config.quantizers
        for part, values in codes.items():
            if values.ndim != 3 or not 1 <= values.shape[-1] <= levels or not values.shape[1]:
                raise UserError(
                    f"codes of {part!r} have shape {tuple(values.shape)}, expected (B, K, L) with "
                    f"at least one token and at most {levels} levels"
                )
            wrong = (values < -1) | (values >= size)
            if wrong.any():
                clip, token, level = wrong.nonzero()[0].tolist()
                raise UserError(
                    f"codes of {part!r} hold {int(values[clip, token, level])} (clip {clip}, token "
                    f"{token}, level {level}), expected 0 to {size - 1}, or -1 for a level left "
                    "out; were they encoded with another tokenizer?"
                )


def as_motion(frames: Frames) -> Motion:
    """Frames with axis-angle poses and, of contacts, probabilities."""
    contacts = frames.extras.get("contacts")
    return Motion(
        poses=matrix_to_axis_angle(frames.rotations.float()).flatten(-2),
        translation=frames.extras.get("translation"),
        contacts=None if contacts is None else contacts.sigmoid(),
        expressions=frames.extras.get("expressions"),
    )
