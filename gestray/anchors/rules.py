"""Grounding by rules: an intent is claimed where form and words agree.

The rules need no model, give the same answer every time, and can be read and
edited (`intents.yaml`). They are the grounder of laptops and tests, and the
baseline that a language model has to beat. Two kinds of evidence are weighed:

- the *form*: how much of a typical physical form of the intent is there;
- the *cues*: words of the transcript that go with the intent.

Neither suffices alone, since most forms have many readings and most words come
with no gesture; the exceptions are emblems, whose form is a convention
(Kendon 1988), and beats, which have no reading (McNeill 1992).

Both are weighed in bits, as a naive Bayes classifier does: by how much likelier
is what is seen and heard if the intent is meant than if it is not. Nothing is
fitted to data: a condition of a form tells the more, the fewer of the terms of
its vocabulary meet it, and the few other figures stand below with their reasons.
"""

from __future__ import annotations

import functools
import re
import unicodedata

from gestray.anchors.anchor import Anchor
from gestray.anchors.taxonomy import Cues, IntentRule, Taxonomy
from gestray.form import Intent, PhysicalForm

# Who means an intent says one of its strong cues about sixteen times as often as others do, a
# weak one twice as often, and nothing of the kind a sixth as often; less rarely with an emblem,
# which stands for words. Each further word of a phrase makes a chance hit half as likely.
_STRONG, _WEAK, _PHRASE_WORD, _LONGEST_PHRASE = 4.0, 1.0, 1.0, 3
_UNSAID, _UNSAID_EMBLEM = -2.5, -1.0
# Before anything is known: about half of all gestures are beats, and the rest are spread over
# the other intents, which are some 2 ** 5; an eighth of that half is none of them.
_BEAT, _NO_INTENT = 5.0, 2.0
# No words make up for a form that hardly speaks for the intent.
_LEAST_FORM = 1.0
# An intent is claimed if it is likelier than all others together.
_LEAST_CONFIDENCE = 0.5
# An intent keeps this many of the words that carry it; its sentence quotes the first three.
_WORDS_KEPT, _WORDS_QUOTED = 8, 3


def ground(form: PhysicalForm, transcript: str, taxonomy: Taxonomy) -> tuple[Intent | None, str]:
    """Find the intent that a form and its transcript support together.

    The confidence is the probability of the intent, by the bits of form and cues, against that
    of all other intents and of none. It is high where form and words point to this one alone.

    Args:
        form: what the gesture looks like.
        transcript: the words spoken with it; any text, case and punctuation.
        taxonomy: the intents there are. One of the label "beat" needs no words.

    Returns:
        The intent and "", or None and the reason why none is claimed.
    """
    if form.handedness == "none":
        return None, "no hand takes part in a gesture"
    heard = _heard(_normalised(transcript), taxonomy)
    bits: dict[str | None, float] = {None: _NO_INTENT}
    words: dict[str, tuple[str, ...]] = {}
    forms_seen: list[tuple[float, str]] = []
    for label, rule in taxonomy.intents.items():
        form_bits = max(pattern.evidence(form) for pattern in rule.forms)
        cues = heard.get(label, {})
        # The most telling cues first, otherwise in the order of the transcript.
        words[label] = tuple(sorted(cues, key=cues.__getitem__, reverse=True)[:_WORDS_KEPT])
        unsaid = _UNSAID_EMBLEM if rule.emblem else _UNSAID
        cue_bits = _BEAT if label == "beat" else max(cues.values(), default=unsaid)
        if form_bits >= _LEAST_FORM:
            forms_seen.append((form_bits, label))
            bits[label] = form_bits + cue_bits
    total = sum(2.0**value for value in bits.values())
    best = max(bits, key=lambda label: bits[label])
    confidence = 2.0 ** bits[best] / total
    if best is not None and confidence >= _LEAST_CONFIDENCE:
        return _intent(best, taxonomy.intents[best], words[best], confidence), ""
    suggested = [label for _, label in sorted(forms_seen, reverse=True)]
    return None, (
        f"no intent is supported by both: the form suggests {_listing(suggested)}, "
        f"the words suggest {_listing([label for label, cues in words.items() if cues])}"
    )


def ground_phrase(
    phrase_id: str, form: PhysicalForm, form_text: str, transcript: str, taxonomy: Taxonomy
) -> Anchor:
    """The anchor of one phrase, by `ground`, with the taxonomy as its provenance."""
    intent, reason = ground(form, transcript, taxonomy)
    return Anchor(
        phrase_id=phrase_id,
        form=form,
        form_text=form_text,
        intent=intent,
        intent_text=intent.sentence if intent else "",
        status="grounded" if intent else "ungrounded",
        reason=reason,
        grounder="rules",
        model=taxonomy.name,
        revision=str(taxonomy.version),
        prompt_hash=taxonomy.hash,
    )


def _heard(spoken: str, taxonomy: Taxonomy) -> dict[str, dict[str, float]]:
    """The cues of each intent in a transcript, and their bits.

    A longer phrase claims its words from weaker cues, for whichever intent: "went up" says
    nothing of the direction that "up" alone would.
    """
    found = []
    claims = [(0, 0.0)] * len(spoken)  # by character: words and bits of the longest phrase there
    for label, rule in taxonomy.intents.items():
        for match in _cue_pattern(rule.cues).finditer(spoken):
            count = match.group().count(" ") + 1
            bits = _STRONG if match.lastgroup == "strong" else _WEAK
            bits += _PHRASE_WORD * (min(count, _LONGEST_PHRASE) - 1)
            place = slice(*match.span())
            found.append((label, match.group(), count, bits, place))
            claims[place] = [max(claim, (count, bits)) for claim in claims[place]]
    heard: dict[str, dict[str, float]] = {}
    for label, cue, count, bits, place in found:
        if not any(words > count and more > bits for words, more in claims[place]):
            heard.setdefault(label, {}).setdefault(cue, bits)
    return heard


def _intent(label: str, rule: IntentRule, words: tuple[str, ...], confidence: float) -> Intent:
    quoted = ", ".join(f'"{word}"' for word in words[:_WORDS_QUOTED])
    sentence = rule.sentence.format(words=f", saying {quoted}" if words else "")
    return Intent(label=label, sentence=sentence, words=words, confidence=round(confidence, 3))


def _listing(labels: list[str]) -> str:
    return ", ".join(labels) if labels else "none"


@functools.cache
def _cue_pattern(cues: Cues) -> re.Pattern[str]:
    """Matches any cue as whole words, the longest first, in a group named by its strength."""
    return re.compile(
        rf"(?<![\w'])(?:(?P<strong>{_any_of(cues.strong)})|(?P<weak>{_any_of(cues.weak)}))"
        r"(?=$|\s|'s\b)"
    )


def _any_of(cues: tuple[str, ...]) -> str:
    longest_first = sorted(cues, key=len, reverse=True)
    return "|".join(re.escape(cue).replace(r"\*", r"\w{0,12}") for cue in longest_first) or r"(?!)"


def _normalised(transcript: str) -> str:
    """Lower-case words with single spaces; apostrophes inside words stay ("don't")."""
    text = unicodedata.normalize("NFKC", transcript).casefold().replace("\u2019", "'")
    return " ".join(re.findall(r"\w+(?:'\w+)*", text))
