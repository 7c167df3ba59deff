"""What gestray's own encoder makes of generated motion: does it say what is said?

Each phrase's motion is replaced by the generated one and embedded like a recording. A model that
was trained with the encoder's help is judged by its own kind; the verbalizer's scores
(`gestray.metrics.promises`) are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from gestray.artifacts import Artifact
from gestray.config import make_config
from gestray.corpora.take import TAKE_SCHEMA
from gestray.encoders.config import EncoderTraining
from gestray.metrics.generation.figures import Part
from gestray.metrics.generation.measure import Moved
from gestray.metrics.retrieval import ranks_both_ways, text_labels
from gestray.store import Folder
from gestray.views.catalog import TakeRef, read_columns
from jobs.encoder import QUERIES, PhraseEmbedder
from jobs.vectors import matrix

_BATCH = 64


class EncoderJudge:
    """Scores motions by an encoder.

    Args:
        takes: the corpus, and `tested`, its takes that are scored.
        split: whose phrases count.
        encoder: a trained one.
    """

    def __init__(
        self, takes: Folder, tested: Sequence[TakeRef], split: str, encoder: Artifact
    ) -> None:
        training = make_config(EncoderTraining, encoder.manifest.config, encoder.uri)
        self._embed = PhraseEmbedder(encoder.folder, training, split, _BATCH, fine=False)
        self._query = QUERIES[self._embed.model.config.query]
        self._tested = tested
        self._takes = [read_columns(takes, ref, self._embed.columns) for ref in tested]

    def parts(self, run: Sequence[Moved | None]) -> list[dict[str, Part]]:
        """Of each take, by phrase: ``encoder.similarity``, the cosine of gesture and what is
        said; ``encoder.r1``, how often no other phrase's gesture of the run says it better."""
        rows = []
        for ref, take, moved in zip(self._tested, self._takes, run, strict=True):
            table = take if moved is None else _with_poses(take, moved.poses)
            found = self._embed(ref, table)
            rows.append(found.slice(0, 0) if moved is None else found)
        whole = pa.concat_tables(rows)
        if not len(whole):
            return [{} for _ in rows]
        said, done = matrix(whole, self._query), matrix(whole, "motion_embedding")
        ranks = ranks_both_ways(said, done, text_labels(whole["text"].to_pylist()))
        first = (ranks["text_to_gesture"] <= 1).astype(float)
        similar = (said * done).sum(axis=1)
        parts: list[dict[str, Part]] = []
        at = 0
        for found in rows:
            mine = slice(at, at + len(found))
            at += len(found)
            columns = {"similarity": similar[mine], "r1": first[mine]}
            parts.append(
                {
                    f"encoder.{name}": (float(values.sum()), float(len(values)))
                    for name, values in columns.items()
                    if len(values)
                }
            )
        return parts


def _with_poses(take: pa.Table, poses: np.ndarray) -> pa.Table:
    """A take's row with other poses; as long as its own, by holding the last or leaving off."""
    frames = len(take["poses"][0])
    held = poses[np.minimum(np.arange(frames), len(poses) - 1)].astype(np.float32)
    kind = TAKE_SCHEMA.field("poses").type
    flat = pa.array(held.reshape(-1), pa.float32())
    inner = pa.FixedSizeListArray.from_arrays(flat, held.shape[1])
    column = pa.ListArray.from_arrays(pa.array([0, frames], pa.int32()), inner).cast(kind)
    return take.set_column(take.column_names.index("poses"), "poses", column)
