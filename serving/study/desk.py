"""What participants may see and say: pairs by place and side, never a method's name.

A participant is known by a token that only the link has. Tokens follow from the study's secret,
which lies beside the answers. An answer is in the store before the participant is told so: a
server that is killed has lost nothing. Each server writes files of its own, one a participant,
that only ever grow and are replaced whole.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gestray.artifacts import Artifact
from gestray.errors import UserError
from gestray.journal import read_lines, write_lines
from gestray.store import Folder
from serving.recordings import skeleton
from serving.study.plan import Choice, Plan, Side, showings

PLAN = "study.json"
MEDIA = "media"
ANSWERS = "study-answers"

_SECRET = "secret"
_CHECK = "Please choose {side} for every question of this pair."
# Where in a pair an attention check says what it is.
_CHECK_AT = 0.35


class Said(BaseModel):
    """What a page sends: choices by question, all or some, and how long it took until now."""

    model_config = ConfigDict(extra="forbid")
    choices: dict[str, Choice] = Field(min_length=1)
    seconds: float = Field(0, ge=0, le=86_400)


class Answer(BaseModel):
    """A line of a journal: choices about one pair, and what was on which side."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    place: int
    pair: int
    swapped: bool
    check: Side | None
    choices: dict[str, Choice]
    seconds: float
    at: AwareDatetime


class Answers:
    """The answers to one study, at ``study-answers/{its identity}/`` of the store."""

    def __init__(self, study: Artifact) -> None:
        store = Folder(study.uri.rsplit("/", 2)[0])
        self.folder = store.child(ANSWERS, study.manifest.identity)

    def secret(self) -> bytes:
        """What the links' tokens follow from; made when it is first needed."""
        if not self.folder.exists(_SECRET):
            self.folder.write_bytes(secrets.token_bytes(32), _SECRET)
        return self.folder.read_bytes(_SECRET)

    def read(self, participant: int | None = None) -> dict[int, list[Answer]]:
        """Everything that was answered, oldest first: by all participants, or by one.

        Raises:
            UserError: a line is no answer; names file and line.
        """
        found: dict[int, list[Answer]] = {}
        for name in self.folder.list():
            who = name.split("-")[0]
            if name.endswith(".jsonl") and participant in (None, int(who)):
                lines = read_lines(self.folder, name, Answer, "an answer")
                found.setdefault(int(who), []).extend(lines)
        return {who: sorted(lines, key=lambda line: line.at) for who, lines in found.items()}


class Sheet:
    """One participant's pairs, and what has been answered."""

    def __init__(self, plan: Plan, number: int, answers: Answers) -> None:
        self.number = number
        self.shown = showings(plan, number)
        self.lock = threading.Lock()
        self._answers = answers
        self._before = answers.read(number).get(number, [])
        self._file = f"{number:05d}-{uuid.uuid4().hex[:8]}.jsonl"
        self._lines: list[Answer] = []

    def choices(self, place: int) -> dict[str, Choice]:
        """What stands of one pair."""
        chosen: dict[str, Choice] = {}
        for line in (*self._before, *self._lines):
            if line.place == place:
                chosen |= line.choices
        return chosen

    def add(self, place: int, said: Said) -> None:
        """Keep choices; they count when this returns."""
        showing = self.shown[place]
        line = Answer(
            place=place,
            pair=showing.pair,
            swapped=showing.swapped,
            check=showing.check,
            choices=said.choices,
            seconds=said.seconds,
            at=datetime.now(UTC),
        )
        lines = [*self._lines, line]
        write_lines(self._answers.folder, self._file, lines)
        self._lines = lines  # only now: an answer that could not be written was not given


class Desk:
    """A study in front of its participants."""

    def __init__(self, study: Artifact) -> None:
        self.plan = read_plan(study)
        self._media = study.folder.child(MEDIA)
        self._answers = Answers(study)
        self._lock = threading.Lock()
        self._sheets: dict[int, Sheet] = {}
        self.media = lru_cache(maxsize=256)(self._media.read_bytes)

    def token(self, participant: int) -> str:
        """What a participant's link ends in."""
        digest = hmac.digest(self._secret, str(participant).encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:18]).decode()

    def participant(self, token: str) -> int | None:
        """Whose token it is; None where it is nobody's."""
        return self._numbers.get(hmac.digest(self._secret, token.encode(), "sha256"))

    @cached_property
    def _secret(self) -> bytes:
        return self._answers.secret()

    @cached_property
    def _numbers(self) -> Mapping[bytes, int]:
        """By digests of tokens, so that no comparison tells how much of a token was right."""
        return {
            hmac.digest(self._secret, self.token(number).encode(), "sha256"): number
            for number in range(self.plan.participants)
        }

    def sheet(self, participant: int) -> Sheet:
        """What a participant sees and has said."""
        with self._lock:
            if participant not in self._sheets:
                self._sheets[participant] = Sheet(self.plan, participant, self._answers)
            return self._sheets[participant]

    def session(self, participant: int) -> dict[str, Any]:
        """What the page needs to begin, or to go on where it was."""
        sheet = self.sheet(participant)
        return {
            "title": self.plan.title,
            "intro": self.plan.intro,
            "questions": self.plan.questions,
            "ties": self.plan.ties,
            "done": [self.is_done(sheet, place) for place in range(len(sheet.shown))],
            "begun": any(sheet.choices(place) for place in range(len(sheet.shown))),
            "thanks": self.plan.thanks if self.finished(sheet) else None,
            "skeleton": skeleton(),
        }

    def is_done(self, sheet: Sheet, place: int) -> bool:
        """Whether every question about a pair is answered."""
        return sheet.choices(place).keys() >= self.plan.questions.keys()

    def finished(self, sheet: Sheet) -> bool:
        """Whether a participant is through."""
        return all(self.is_done(sheet, place) for place in range(len(sheet.shown)))

    def pair(self, participant: int, place: int) -> dict[str, Any]:
        """One pair, and what was answered about it."""
        sheet = self.sheet(participant)
        showing = sheet.shown[place]
        pair = self.plan.pairs[showing.pair]
        seconds = [pair.seconds[showing.method_on(side)] for side in ("left", "right")]
        message = None
        if showing.check is not None:
            message = {
                "text": _CHECK.format(side=showing.check.upper()),
                "at_s": _CHECK_AT * min(seconds),
            }
        return {
            "text": pair.text,
            "words": [word.model_dump() for word in pair.words],
            "seconds": seconds,
            "has_audio": pair.has_audio,
            "message": message,
            "choices": sheet.choices(place),
        }

    def motion(self, participant: int, place: int, side: Side) -> bytes:
        """What stands on a side of a pair, as `serving.recordings.pack_turns` has it."""
        showing = self.sheet(participant).shown[place]
        return self.media(media_name(showing.pair, showing.method_on(side)))

    def audio(self, participant: int, place: int) -> bytes | None:
        """What is heard with a pair, as WAV."""
        showing = self.sheet(participant).shown[place]
        if not self.plan.pairs[showing.pair].has_audio:
            return None
        return self.media(audio_name(showing.pair))

    def answer(self, participant: int, place: int, body: bytes) -> dict[str, Any]:
        """Keep what a page sends about a pair.

        Raises:
            UserError: says what of it cannot be.
        """
        try:
            said = Said.model_validate_json(body)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            raise UserError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
        if unknown := said.choices.keys() - self.plan.questions.keys():
            raise UserError(f"choices: there is no question {sorted(unknown)[0][:64]!r}")
        if "same" in said.choices.values() and not self.plan.ties:
            raise UserError("choices: this study asks for left or right")
        sheet = self.sheet(participant)
        with sheet.lock:
            sheet.add(place, said)
            finished = self.finished(sheet)
        return {
            "choices": sheet.choices(place),
            "done": self.is_done(sheet, place),
            "thanks": self.plan.thanks if finished else None,
        }


def read_plan(study: Artifact) -> Plan:
    """The plan of a study."""
    return Plan.model_validate_json(study.folder.read_bytes(PLAN))


def media_name(pair: int, method: int) -> str:
    """File of one method's motion."""
    return f"{pair:04d}-{method}.turns"


def audio_name(pair: int) -> str:
    """File of what is heard with both."""
    return f"{pair:04d}.wav"
