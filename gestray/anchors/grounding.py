"""Grounding by a language model: phrases in, anchors out, one to one, each question paid once.

The policy, for any engine:

- A phrase in which no hand moves is not asked about.
- Equal questions are asked once, and not at all if an earlier run has the answer
  (`gestray.anchors.cache`).
- An answer that is not in the schema is asked for again, up to `retries` times:
  with twice the tokens where it was cut off, with another seed and at least
  `RETRY_TEMPERATURE` where it was malformed. Then the anchor is `failed`, with the
  raw text, and a later run does not ask again.
- A question that an engine refuses gives a `failed` anchor, and a later run asks again.
- An engine that breaks ends the run; what it answered before is kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from gestray.anchors.anchor import Anchor, Status, anchor_schema, to_row
from gestray.anchors.cache import AnswerCache, question_key
from gestray.anchors.engines import Answer, Engine, Instructions, Question, Sampling
from gestray.anchors.prompting import (
    PromptConfig,
    instructions,
    parse_response,
    prompt_hash,
    user_message,
)
from gestray.anchors.taxonomy import Taxonomy
from gestray.form import Intent, PhysicalForm
from gestray.store import Folder

# What is read of each phrase.
COLUMNS = ("phrase_id", "text", "form", "form_text")

RETRY_TEMPERATURE = 0.7

_ROWS = 2048  # turned into anchors at a time


def retry_sampling(sampling: Sampling, attempt: int, cut_off: bool) -> Sampling:
    """How the question of an unusable answer is asked at its `attempt`, counted from 0."""
    if attempt == 0:
        return sampling
    change = (
        {"max_tokens": sampling.max_tokens * 2**attempt}
        if cut_off
        else {
            "seed": sampling.seed + attempt,
            "temperature": max(sampling.temperature, RETRY_TEMPERATURE),
        }
    )
    return sampling.model_copy(update=change)


class Survey(NamedTuple):
    """What there is to ask about some phrases.

    Attributes:
        without_hands: phrases that are not asked about.
        questions: different ones.
        unanswered: row of the first phrase of each question that an engine would be asked.
        shared_prompt: share of a prompt, in characters, that is the same for all.
    """

    without_hands: int
    questions: int
    unanswered: list[int]
    shared_prompt: float


@dataclass
class LanguageModelGrounder:
    """An engine, how it is asked, and where its answers are kept.

    Attributes:
        taxonomy: the intents there are.
        retries: attempts after the first at an answer that is not in the schema.
        store: of the artifacts; the cache lies there.
        counts: filled by `ground`: phrases `asked_about` and `without_hands`, different
            `questions`, those `reused`, calls of the engine and the tokens it generated.
    """

    engine: Engine
    taxonomy: Taxonomy
    prompt: PromptConfig
    sampling: Sampling
    retries: int
    store: Folder
    counts: Counter[str] = field(default_factory=Counter)

    def ground(
        self, rows: pa.Table, see: Callable[[int, int], None] = lambda done, total: None
    ) -> Iterator[pa.Table]:
        """Ground phrases.

        Args:
            rows: at least `COLUMNS`; `form` is a `PhysicalForm` in JSON.
            see: told of the questions answered and of all, whenever it changes.

        Yields:
            Tables of `anchor_schema`, together one row for each phrase, in order.

        Raises:
            UserError: the engine cannot work, or the prompt is none.
        """
        told = instructions(self.prompt, self.taxonomy)
        keys, questions = self._questions(rows)
        self.counts.update(
            asked_about=sum(key is not None for key in keys),
            without_hands=keys.count(None),
            questions=len(questions),
        )
        answers = self._answers(told, questions, see)
        provenance = {
            "grounder": self.engine.name,
            "model": self.engine.model,
            "revision": self.engine.revision,
            "prompt_hash": prompt_hash(self.prompt, self.taxonomy),
            "sampling": json.dumps(
                self.sampling.identity()
                | {"max_words": self.prompt.max_words, "retries": self.retries}
            ),
        }
        for start in range(0, len(rows), _ROWS):
            phrases = rows.slice(start, _ROWS).select(COLUMNS).to_pylist()
            anchors = [
                self._anchor(phrase, None if key is None else answers[key], provenance)
                for phrase, key in zip(phrases, keys[start : start + _ROWS], strict=True)
            ]
            yield pa.Table.from_pylist([to_row(anchor) for anchor in anchors], anchor_schema())

    def survey(self, rows: pa.Table) -> Survey:
        """What `ground` would do about these rows."""
        told = instructions(self.prompt, self.taxonomy)
        keys, questions = self._questions(rows)
        known = AnswerCache(self.store, self.realm(told)).load(questions, last=self.retries)
        first = {key: row for row, key in reversed(list(enumerate(keys))) if key is not None}
        unanswered = sorted(
            row for key, row in first.items() if key not in known or self._is_to_retry(*known[key])
        )
        told_apart = sum(map(len, questions.values())) / max(1, len(questions))
        return Survey(
            without_hands=keys.count(None),
            questions=len(questions),
            unanswered=unanswered,
            shared_prompt=len(told.system) / (len(told.system) + told_apart),
        )

    def realm(self, told: Instructions) -> dict[str, object]:
        """What answers depend on besides their question."""
        return {
            "engine": self.engine.identity(),
            "sampling": self.sampling.identity(),
            **told._asdict(),
        }

    def _questions(self, rows: pa.Table) -> tuple[list[str | None], dict[str, str]]:
        """The key of each phrase's question, None where none is asked; and the questions by key."""
        keys: list[str | None] = []
        questions: dict[str, str] = {}
        for batch in rows.select(COLUMNS).to_batches(max_chunksize=_ROWS):
            for phrase in batch.to_pylist():
                form = PhysicalForm.model_validate_json(phrase["form"])
                if form.handedness == "none":
                    keys.append(None)
                    continue
                user = user_message(self.prompt, phrase["form_text"], form, phrase["text"] or "")
                keys.append(question_key(user))
                questions.setdefault(question_key(user), user)
        return keys, questions

    def _answers(
        self, told: Instructions, questions: Mapping[str, str], see: Callable[[int, int], None]
    ) -> dict[str, Answer]:
        """The last answer to each question, from the cache or the engine."""
        cache = AnswerCache(self.store, self.realm(told))
        known = cache.load(questions, last=self.retries)
        self.counts.update(reused=len(known), calls=0, tokens=0)
        see(len(known), len(questions))
        try:
            for attempt in range(self.retries + 1):
                due: dict[bool, list[Question]] = {False: [], True: []}
                for key, user in questions.items():
                    if self._is_due(known.get(key), attempt):
                        due[key in known and known[key][1].cut_off].append(Question(key, user))
                for cut_off, asked in due.items():
                    sampling = retry_sampling(self.sampling, attempt, cut_off)
                    for answers in self._ask(told, asked, sampling):
                        known.update((answer.key, (attempt, answer)) for answer in answers)
                        cache.keep(attempt, (answer for answer in answers if not answer.refusal))
                        see(len(known), len(questions))
        finally:
            cache.flush()
        return {key: answer for key, (_, answer) in known.items()}

    def _ask(
        self, told: Instructions, questions: Sequence[Question], sampling: Sampling
    ) -> Iterator[list[Answer]]:
        """Each question's answer, once."""
        if not questions:
            return
        unanswered = {question.key for question in questions}
        for answers in self.engine.answer(told, questions, sampling):
            # An engine that was restarted may answer again what it had answered.
            new = {answer.key: answer for answer in answers if answer.key in unanswered}
            unanswered -= new.keys()
            self.counts.update(calls=len(new), tokens=sum(answer.tokens for answer in new.values()))
            yield [
                answer._replace(text=_storable(answer.text), refusal=_storable(answer.refusal))
                for answer in new.values()
            ]
        assert not unanswered, f"the engine left {len(unanswered)} questions without an answer"

    def _is_due(self, known: tuple[int, Answer] | None, attempt: int) -> bool:
        """Whether to ask at this attempt, given the last one at a question and what came of it."""
        if known is None:
            return attempt == 0
        return known[0] == attempt - 1 and self._is_to_retry(*known)

    def _is_to_retry(self, attempt: int, answer: Answer) -> bool:
        return (
            attempt < self.retries
            and not answer.refusal
            and parse_response(answer.text, self.taxonomy)[1] == "failed"
        )

    def _anchor(
        self, phrase: Mapping[str, Any], answer: Answer | None, provenance: Mapping[str, Any]
    ) -> Anchor:
        form = PhysicalForm.model_validate_json(phrase["form"])
        intent: Intent | None
        status: Status
        if answer is None:
            intent, status, reason = None, "ungrounded", "no hand takes part in a gesture"
        elif answer.refusal:
            intent, status = None, "failed"
            reason = f"the engine refused the phrase: {answer.refusal[:200]}"
        else:
            intent, status, reason = parse_response(
                answer.text, self.taxonomy, form, phrase["text"] or ""
            )
            if status == "failed" and answer.cut_off:
                reason = f"the answer was cut off after {answer.tokens} tokens"
        return Anchor(
            phrase_id=phrase["phrase_id"],
            form=form,
            form_text=phrase["form_text"],
            intent=intent,
            intent_text=intent.sentence if intent else "",
            status=status,
            reason=reason,
            raw=answer.text if answer is not None and status == "failed" else "",
            **provenance,
        )


def _storable(text: str) -> str:
    """Without half characters, which JSON can spell and no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
