"""By meaning: the gestures that an encoder puts nearest to what is said around each word."""

from __future__ import annotations

from gestray.generators.contract import Speech
from gestray.generators.strategies.contract import CANDIDATES, Candidate, Clip
from gestray.generators.strategies.recorded import Embed, around
from gestray.retrieval.index import GestureIndex

# Words to either side that say what a word means here.
_CONTEXT = 2


class ByMeaning:
    """gestray's own way.

    Args:
        index: of gestures, embedded by the encoder.
        embed: texts by the same encoder.
    """

    name = "encoder"

    def __init__(self, index: GestureIndex, embed: Embed) -> None:
        self._index, self._embed = index, embed

    def candidates(self, speech: Speech, speaker: str | None) -> list[Candidate]:
        if not speech.words:
            return []
        count = len(speech.words)
        texts = [around(speech.words, n, n + 1, _CONTEXT) for n in range(count)]
        found = []
        for number, hits in enumerate(self._index.search(self._embed(texts), CANDIDATES)):
            for hit in hits:
                # A beat says nothing; where anchors tell one, it is no gesture to look for.
                if hit.intent == "beat":
                    continue
                meant = f", {hit.intent}" if hit.intent else ""
                why = f'"{texts[number]}" is near the gesture of "{hit.text}"{meant}'
                clip = Clip(hit.phrase_id, hit.take_id, hit.start_s, hit.end_s)
                found.append(Candidate(number, clip, hit.score, why))
        return found
