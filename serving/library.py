"""What a replica answers from: encoders with their indexes and recordings, and generators.

An encoder's vectors mean nothing to the index of another, so the two are one immutable
`Model`. A replica changes models by changing one reference: an answer comes from the old pair
or from the new one, never from both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gestray.artifacts import Artifact, artifacts_of_kind, open_artifact
from gestray.client.answers import Clip, Phases, Word
from gestray.errors import UserError
from gestray.generators.contract import Speech
from gestray.retrieval.index import GestureIndex
from gestray.speech.audio import SAMPLE_RATE
from gestray.speech.words import Word as SpokenWord
from gestray.store import Folder, default_store
from serving.config import ServingConfig
from serving.recordings import Recordings

if TYPE_CHECKING:
    from gestray.encoders.model import DualEncoder
    from gestray.generators.model import CodeGenerator
    from gestray.motion.export import MotionClip

_INDEX, _ROWS = "index", "rows.parquet"
_WARM_UP = "hello there"


@dataclass(frozen=True)
class Model:
    """An encoder and the index of a corpus's gestures that was made with it.

    Attributes:
        name: how requests call it.
        artifact: the index; its inputs lead to encoder and takes.
        encoder: in evaluation mode.
        gestures: by the embedding of their motion.
        texts: the same phrases by the embedding of their words.
        recordings: the takes they are cut from.
    """

    name: str
    artifact: Artifact
    encoder: DualEncoder
    gestures: GestureIndex
    texts: GestureIndex
    recordings: Recordings

    @property
    def source(self) -> dict[str, str]:
        """The artifacts that its answers come from, by role."""
        embeddings = self.artifact.input("embeddings")
        return {
            "index": self.artifact.manifest.identity,
            "encoder": embeddings.manifest.inputs["encoder"].identity,
            "takes": embeddings.manifest.inputs["takes"].identity,
        }

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (B, D)."""
        import torch

        with torch.inference_mode():
            vectors = self.encoder.embed_text(list(texts)).numpy()
        assert self.encoder.text is not None
        self.encoder.text.forget()
        return vectors

    def embed_motion(self, poses: NDArray[np.float32]) -> NDArray[np.float32]:
        """The unit vector (1, D) of axis-angle poses (frames, 165)."""
        import torch

        from gestray.encoders.task import pad_poses

        with torch.inference_mode():
            padded, frames = pad_poses([poses.tobytes()], self.encoder.config.motion.max_frames)
            return self.encoder.embed_motion(padded, frames).numpy()

    def clip(self, phrase_id: str) -> Clip | None:
        """What is known of a phrase; None where the index has no such phrase."""
        from serving.motions import formats

        row = self._row(phrase_id)
        if row is None:
            return None
        span = (row["take_id"], row["start_s"], row["end_s"])
        words, phases = self.recordings.words(*span), self.recordings.phases(*span)
        return Clip(
            id=phrase_id,
            take=row["take_id"],
            speaker=row["speaker"],
            start_s=row["start_s"],
            end_s=row["end_s"],
            text=row["text"],
            words=[Word(**word) for word in words],
            form=row["form_text"],
            intent=row["intent"],
            intent_text=row["intent_text"],
            phases=None if phases is None else Phases(**phases.model_dump()),
            has_audio=self.recordings.has_audio(row["take_id"]),
            formats=list(formats()),
        )

    def packed_motion(self, phrase_id: str) -> bytes | None:
        """The joints of a phrase, as `serving.recordings.pack` has them."""
        span = self._span(phrase_id)
        return None if span is None else self.recordings.motion(*span)

    def packed_turns(self, phrase_id: str) -> bytes | None:
        """How the joints of a phrase are turned, as `serving.recordings.pack_turns` has them."""
        span = self._span(phrase_id)
        return None if span is None else self.recordings.turns(*span)

    def wav(self, phrase_id: str) -> bytes | None:
        """The sound of a phrase."""
        span = self._span(phrase_id)
        return None if span is None else self.recordings.wav(*span)

    def motion_clip(self, phrase_id: str) -> MotionClip | None:
        """The motion and sound of a phrase, to make a file of."""
        span = self._span(phrase_id)
        return None if span is None else self.recordings.clip(*span)

    def _span(self, phrase_id: str) -> tuple[str, float, float] | None:
        """Take, start and end of a phrase."""
        row = self._row(phrase_id)
        return None if row is None else (row["take_id"], row["start_s"], row["end_s"])

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {
            phrase: row for row, phrase in enumerate(self.gestures.rows["phrase_id"].to_pylist())
        }

    def _row(self, phrase_id: str) -> dict[str, Any] | None:
        row = self._rows.get(phrase_id)
        return None if row is None else self.gestures.rows.slice(row, 1).to_pylist()[0]

    def warm_up(self) -> None:
        """Answer one question of each kind, so that the first request is not the slow one."""
        self.gestures.search(self.embed_texts([_WARM_UP]), 1)
        self.texts.search(self.embed_motion(np.zeros((30, 165), np.float32)), 1)


def load_model(name: str, uri: str) -> Model:
    """The encoder and index of an index artifact, ready to answer.

    Raises:
        UserError: it is no index, or what it was made from is gone.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from gestray.encoders.model import DualEncoder

    artifact = open_artifact(Folder(uri), "index")
    embeddings = artifact.input("embeddings")
    encoder = DualEncoder.from_folder(embeddings.input("encoder").folder)
    with tempfile.TemporaryDirectory(prefix="gestray-index-") as folder:
        gestures = GestureIndex.load(artifact.folder.download(Path(folder), _INDEX))
    if encoder.text is None:
        raise UserError(f"{uri}: its encoder does not read, and requests are words; serve another")
    columns = ["phrase_id", "text_embedding"]
    rows = pq.read_table(
        embeddings.folder.path(_ROWS), columns=columns, filesystem=embeddings.folder.filesystem
    )
    # Arrow does not join on what carries lists, so rows are put in the index's order by hand.
    where = pc.index_in(gestures.rows["phrase_id"], value_set=rows["phrase_id"].combine_chunks())
    column = rows["text_embedding"].combine_chunks().take(where.combine_chunks())
    vectors = column.flatten().to_numpy().reshape(len(column), -1)
    texts = GestureIndex.build(vectors, gestures.rows)
    recordings = Recordings(embeddings.input("takes").folder)
    model = Model(name, artifact, encoder, gestures, texts, recordings)
    model.warm_up()
    return model


@dataclass(frozen=True)
class Mover:
    """A generator that is served.

    Attributes:
        name: how requests call it.
        artifact: the generator.
        generator: in evaluation mode.
    """

    name: str
    artifact: Artifact
    generator: CodeGenerator

    @property
    def source(self) -> dict[str, str]:
        """The artifacts that its motions come from, by role."""
        manifest = self.artifact.manifest
        inputs = {role: ref.identity for role, ref in manifest.inputs.items()}
        return {"generator": manifest.identity, **inputs}

    @property
    def speakers(self) -> list[str]:
        """Whose manner it knows."""
        return list(self.generator.config.speakers)

    @property
    def delay_s(self) -> float:
        """Of a stream: what is heard before the first of it is moved for."""
        chunk = self.generator.config.generator.chunk
        return chunk.hop_s + chunk.ahead_s


def load_mover(name: str, uri: str) -> Mover:
    """The generator of an artifact, ready to move.

    Raises:
        UserError: it is no generator, or not of this version of gestray.
    """
    from gestray.generators.model import CodeGenerator

    artifact = open_artifact(Folder(uri), "generator")
    mover = Mover(name, artifact, CodeGenerator.from_folder(artifact.folder))
    mover.generator.quicken()
    half_a_second = np.zeros(SAMPLE_RATE // 2, np.float32)
    mover.generator.generate(Speech(half_a_second, (SpokenWord(_WARM_UP, 0.1, 0.4),)))
    return mover


@dataclass(frozen=True)
class Chosen:
    """What is served: URIs by the name of the model, the default last."""

    models: Mapping[str, str]
    generators: Mapping[str, str]


def choose(config: ServingConfig) -> Chosen:
    """The indexes and generators that a config asks for, or the newest of each name in the store.

    Raises:
        UserError: none are given and the store has none.
    """
    chosen = Chosen(config.models, config.generators)
    if config.models or config.generators:
        return chosen
    store = Folder(config.store or default_store())
    found = {
        kind: {made.manifest.name: made.uri for made in artifacts_of_kind(store, kind)}
        for kind in ("index", "generator")
    }
    if not any(found.values()):
        raise UserError(
            f"store {store.uri}: found no index and no generator to serve; make one with "
            "`gestray index build` or `gestray generator train`, or the whole of a first result "
            "with `gestray demo`"
        )
    return Chosen(found["index"], found["generator"])


def check_chosen(chosen: Chosen) -> None:
    """Refuse what a replica could not load, without loading it: by manifests and headers.

    Raises:
        UserError: an artifact is missing, or of another version of gestray.
    """
    from gestray.encoders.config import EncoderConfig
    from gestray.encoders.model import DualEncoder
    from gestray.generators.config import TrainedGenerator
    from gestray.generators.model import CodeGenerator
    from gestray.training.checkpoint import check_pretrained

    for uri in chosen.models.values():
        index = open_artifact(Folder(uri), "index")
        embeddings = index.input("embeddings")
        embeddings.input("takes")
        check_pretrained(embeddings.input("encoder").folder, DualEncoder, EncoderConfig)
        for name in ("index.json", "index.faiss", "rows.parquet"):
            if not index.folder.exists(_INDEX, name):
                raise UserError(f"{uri}: found no {_INDEX}/{name}; build the index again")
    for uri in chosen.generators.values():
        generator = open_artifact(Folder(uri), "generator")
        check_pretrained(generator.folder, CodeGenerator, TrainedGenerator)
