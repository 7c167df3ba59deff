"""Nearest vectors by inner product: exactly, by a graph, or by cells, behind one interface.

Vectors have length 1, so the inner product is the cosine. What fits is a question of size:

- ``exact`` compares with everything: on a GPU where there is one, else with faiss.
- ``hnsw`` walks a graph of neighbours (Malkov & Yashunin 2018). Searches are the fastest, the
  graph takes long to build: some minutes for a hundred thousand on two cores.
- ``ivf`` looks into the cells nearest to the query, at compressed vectors (inverted file with
  product quantization; Jégou et al. 2011, in the 4-bit layout of André et al. 2015), and
  compares the best of them exactly. Compressed is what lies along the principal axes of the
  vectors: encoders use few of their dimensions. A million are ready within a minute.

Both approximate kinds keep every vector whole beside what they search by, which makes exact
searches of a part of them cheap: that is how filters work that leave few.

Shapes: N vectors, Q queries, D dimensions, K hits a query.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["exact", "hnsw", "ivf"]
Found = tuple[NDArray[np.float32], NDArray[np.int64]]

EXACT_BELOW = 50_000
"""Fewer vectors than this are searched exactly, more by cells, where the kind is not chosen."""

HNSW_NEIGHBOURS = 32
HNSW_EF_CONSTRUCTION = 200
HNSW_EF_SEARCH = 128

RECALL_WANTED = 0.985
"""Of `ivf`: it looks as far as this recall@10 takes, among the vectors' own."""

SCANNED_WHOLE = 50_000
"""Where no more vectors than this are allowed, they are compared with one by one."""

# Multiplications from which on several threads are worth their start, which takes long where
# cores are busy with other things; and of one approximate search, roughly.
_WORTH_THREADS = 50_000_000
_WORK_OF_A_SEARCH = 5_000_000

_POINTS_PER_CELL = 40
# Of the sum of squares of the vectors, the share that compressed ones keep.
_ENERGY = 0.95
_AXES_SAMPLE = 100_000
_RECALL_SAMPLE = 500
_NEIGHBOURS_AND_SELF = 11
_SCORE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Effort:
    """How far `ivf` looks.

    Attributes:
        cells: looked into.
        refined: vectors compared exactly, for each that is asked for.
    """

    cells: int = 8
    refined: int = 20

    def further(self, cells: int) -> list[Effort]:
        """Twice as far in one way or the other, of an index of so many cells."""
        more = min(2 * self.cells, cells, _MOST.cells), min(2 * self.refined, _MOST.refined)
        ways = Effort(more[0], self.refined), Effort(self.cells, more[1])
        return [way for way in ways if way != self]


_MOST = Effort(1024, 320)


class VectorIndex:
    """N vectors of length 1, searchable; they can be added to but not taken from.

    Args:
        vectors: float32 (N, D), at least one.
        kind: None takes what fits their number.
    """

    def __init__(self, vectors: NDArray[np.float32], kind: Kind | None = None) -> None:
        self.kind: Kind = kind or kind_for(len(vectors))
        self.index = _BUILDERS[self.kind](vectors)
        self.effort = Effort()
        self._on_gpu: Any = None
        if self.kind == "ivf":
            self._tune()

    def __len__(self) -> int:
        return self.index.ntotal

    @property
    def dim(self) -> int:
        """D."""
        return self.index.d

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(N, D): all of them, as they lie in the index."""
        import faiss

        flat = self.index
        if self.kind == "hnsw":
            flat = faiss.downcast_index(self.index.storage)
        elif self.kind == "ivf":
            flat = faiss.downcast_index(self.index.refine_index)
        values = faiss.rev_swig_ptr(flat.get_xb(), len(self) * self.dim)
        return values.reshape(len(self), self.dim)

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Append vectors; the graph or the cells stay as they are."""
        self.index.add(vectors)
        self._on_gpu = None

    def search(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> Found:
        """The nearest of every query, best first.

        Args:
            queries: float32 (Q, D), of length 1.
            k: hits a query.
            allowed: (N,) the vectors that may be found; None for all. Few are compared with
                one by one, whatever the kind, so that none of them is missed.

        Returns:
            Similarities and numbers (Q, K); the number is -1 where fewer are found.
        """
        if allowed is not None:
            numbers = np.flatnonzero(allowed)
            if self.kind == "exact" or len(numbers) <= max(SCANNED_WHOLE, k):
                return self._scan(queries, k, numbers)
        if self.kind == "exact":
            return self._exact(queries, k)
        with _threads_for(len(queries) * _WORK_OF_A_SEARCH):
            return self.index.search(queries, k, params=self._parameters(allowed))

    def recall_at_10(self) -> float:
        """Of the true ten nearest, the share that a search finds; 1 if exact.

        Measured on an even sample of the vectors themselves. A vector finds itself for free
        and is left out. A hit as near as the tenth true neighbour counts, whichever of
        several equal vectors it is.
        """
        if self.kind == "exact" or len(self) < _NEIGHBOURS_AND_SELF:
            return 1.0
        sample, truth = self._sample_and_truth()
        return self._recall(sample, truth)

    def save(self, file: Path) -> None:
        """Write all of it to one file."""
        import faiss

        faiss.write_index(self.index, str(file))

    @classmethod
    def load(cls, file: Path, kind: Kind, effort: Effort) -> VectorIndex:
        """Read what `save` wrote; `kind` and `effort` as they were."""
        import faiss

        made = cls.__new__(cls)
        made.kind, made.effort, made._on_gpu = kind, effort, None
        made.index = faiss.read_index(str(file))
        return made

    def _scan(self, queries: NDArray[np.float32], k: int, numbers: NDArray[np.int64]) -> Found:
        scores = np.full((len(queries), k), -np.inf, np.float32)
        found = np.full((len(queries), k), -1)
        similarity = queries @ self.vectors[numbers].T
        most = min(k, len(numbers))
        if most:
            best = np.argpartition(-similarity, most - 1, axis=1)[:, :most]
            order = np.argsort(-np.take_along_axis(similarity, best, axis=1), axis=1, kind="stable")
            best = np.take_along_axis(best, order, axis=1)
            scores[:, :most] = np.take_along_axis(similarity, best, axis=1)
            found[:, :most] = numbers[best]
        return scores, found

    def _exact(self, queries: NDArray[np.float32], k: int) -> Found:
        import torch

        if not torch.cuda.is_available():
            with _threads_for(queries.size * len(self)):
                return self.index.search(queries, k)
        if self._on_gpu is None:
            self._on_gpu = torch.from_numpy(self.vectors).cuda()
        return exact_on_device(self._on_gpu, queries, k)

    def _parameters(self, allowed: NDArray[np.bool_] | None) -> Any:
        faiss = _faiss()
        sel = None
        if allowed is not None:
            sel = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=HNSW_EF_SEARCH, sel=sel)
        cells = faiss.SearchParametersIVF(nprobe=self.effort.cells, sel=sel)
        compressed = faiss.SearchParametersPreTransform(index_params=cells)
        return faiss.IndexRefineSearchParameters(
            k_factor=self.effort.refined, base_index_params=compressed
        )

    def _tune(self) -> None:
        """Look as far as the recall takes that is wanted, each time in the way that helps more."""
        cells = _faiss().extract_index_ivf(self.index).nlist
        sample, truth = self._sample_and_truth()

        def recall(effort: Effort) -> float:
            self.effort = effort
            return self._recall(sample, truth)

        best = Effort(min(Effort.cells, cells))
        found = recall(best)
        while found < RECALL_WANTED and (ways := best.further(cells)):
            found, best = max(((recall(way), way) for way in ways), key=lambda each: each[0])
        self.effort = best

    def _sample_and_truth(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        import faiss

        count = min(_RECALL_SAMPLE, len(self))
        sample = np.linspace(0, len(self) - 1, count).astype(np.int64)
        truth, _ = faiss.knn(
            self.vectors[sample],
            self.vectors,
            _NEIGHBOURS_AND_SELF,
            metric=faiss.METRIC_INNER_PRODUCT,
        )
        return sample, truth

    def _recall(self, sample: NDArray[np.int64], truth: NDArray[np.float32]) -> float:
        found, numbers = self.search(self.vectors[sample], _NEIGHBOURS_AND_SELF)
        near_enough = (found >= truth[:, -1:] - _SCORE_TOLERANCE) & (numbers >= 0)
        others = near_enough & (numbers != sample[:, None])
        neighbours = _NEIGHBOURS_AND_SELF - 1
        return float(np.minimum(others.sum(axis=1), neighbours).mean() / neighbours)


@contextmanager
def _threads_for(multiplications: int) -> Iterator[None]:
    """One thread where the work is little."""
    faiss = _faiss()
    threads = faiss.omp_get_max_threads()
    if multiplications < _WORTH_THREADS:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _faiss() -> Any:
    """The library, whose parameter classes its type hints do not know."""
    import faiss

    return faiss


def kind_for(count: int) -> Kind:
    """What fits so many vectors."""
    return "exact" if count < EXACT_BELOW else "ivf"


def exact_on_device(vectors: Any, queries: NDArray[np.float32], k: int) -> Found:
    """Exact search on the device of the torch tensor `vectors` (N, D)."""
    import torch

    similarity = torch.from_numpy(queries).to(vectors.device) @ vectors.T
    scores, numbers = similarity.topk(min(k, len(vectors)), dim=1)
    return scores.cpu().numpy(), numbers.cpu().numpy()


def _exact(vectors: NDArray[np.float32]) -> Any:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def _hnsw(vectors: NDArray[np.float32]) -> Any:
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], HNSW_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = HNSW_EF_CONSTRUCTION
    index.add(vectors)
    return index


def _ivf(vectors: NDArray[np.float32]) -> Any:
    """Cells around four times the root of the number of vectors; four bits a principal axis."""
    faiss = _faiss()
    count, dim = vectors.shape
    cells = int(min(4 * np.sqrt(count), count // _POINTS_PER_CELL)) or 1
    axes = _principal_axes(vectors)
    rotation = faiss.LinearTransform(dim, len(axes), False)
    faiss.copy_array_to_vector(axes.ravel(), rotation.A)
    rotation.is_trained = True
    coarse = faiss.IndexFlatIP(len(axes))
    compressed = faiss.IndexIVFPQFastScan(
        coarse, len(axes), cells, len(axes), 4, faiss.METRIC_INNER_PRODUCT
    )
    compressed.cp.max_points_per_centroid = _POINTS_PER_CELL
    compressed.cp.niter = 8
    base = faiss.IndexPreTransform(rotation, compressed)
    wanted = _POINTS_PER_CELL * cells
    base.train(vectors[:: max(1, count // wanted)][:wanted])
    index = faiss.IndexRefineFlat(base)
    index.add(vectors)
    return index


def _principal_axes(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(d, D): as few orthogonal directions as hold `_ENERGY` of the vectors, a multiple of 8."""
    sample = vectors[:: max(1, len(vectors) // _AXES_SAMPLE)]
    energies, axes = np.linalg.eigh(sample.T @ sample)
    held = np.cumsum(energies[::-1]) / energies.sum()
    needed = int(np.searchsorted(held, _ENERGY)) + 1
    kept = min(8 * -(-needed // 8), vectors.shape[1])
    return np.ascontiguousarray(axes[:, ::-1][:, :kept].T, np.float32)


_BUILDERS = {"exact": _exact, "hnsw": _hnsw, "ivf": _ivf}
