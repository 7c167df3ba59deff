"""Motion primitives in words: tokens are decoded to motion, and the motion is described.

Speakers repeat themselves, and so do their tokens: descriptions are kept by the codes
they came from, the most recent ones first. What is kept is what would be computed, so
the cache changes nothing but the time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gestray.anchors.verbalize import Description, describe_many
from gestray.corpora.take import FPS
from gestray.errors import UserError
from gestray.tokenizers.model import MotionTokenizer

# One part's codes of one gesture: a row a token, a column a quantizer level.
Codes = Mapping[str, Sequence[Sequence[int]]]
_Key = tuple[int, tuple[tuple[str, bytes, int], ...]]


class PrimitiveVerbalizer:
    """Describes gestures given as codes of a tokenizer.

    Args:
        model: the tokenizer, in evaluation mode on the CPU.
        kept: descriptions kept at most; each takes about 2 kB.
    """

    def __init__(self, model: MotionTokenizer, kept: int = 16_384) -> None:
        if kept < 1:
            raise UserError(f"kept is {kept}, expected at least 1 description")
        self.model = model
        self._size = kept
        self._kept: OrderedDict[_Key, Description] = OrderedDict()

    def describe_many(self, gestures: Sequence[Codes], frames: Sequence[int]) -> list[Description]:
        """The gestures that codes stand for.

        Args:
            gestures: codes per part, each (tokens, levels).
            frames: length of each gesture; a last token may reach beyond it.

        Raises:
            UserError: parts are not those of the tokenizer.
        """
        tensors = [
            {part: torch.as_tensor(codes, dtype=torch.long) for part, codes in gesture.items()}
            for gesture in gestures
        ]
        keys = [_key(codes, length) for codes, length in zip(tensors, frames, strict=True)]
        # Within a call nothing is forgotten, however many gestures there are.
        found = {key: self._kept[key] for key in keys if key in self._kept}
        missing = {key: codes for key, codes in zip(keys, tensors, strict=True) if key not in found}
        motions = [self._decode(codes, key[0]) for key, codes in missing.items()]
        found.update(zip(missing, describe_many(motions, FPS), strict=True))
        for key in dict.fromkeys(keys):
            self._kept[key] = found[key]
            self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return [found[key] for key in keys]

    def _decode(self, codes: Mapping[str, Tensor], frames: int) -> Tensor:
        # One gesture at a time: in a batch, last bits would depend on its neighbours.
        return self.model.decode({part: tensor[None] for part, tensor in codes.items()})[0, :frames]


def _key(codes: Mapping[str, Tensor], frames: int) -> _Key:
    parts = ((part, codes[part].numpy().tobytes(), codes[part].shape[-1]) for part in sorted(codes))
    return frames, tuple(parts)
