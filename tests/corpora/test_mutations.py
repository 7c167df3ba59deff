"""Real files with anything done to them: a take that is sound, or `BadInput`, and nothing else.

Where no real recording lies beside the checkout, a synthetic one is mutated.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gestray.corpora.beat2 import PARTS, list_takes, read_take
from gestray.errors import BadInput, UserError

#: A case may cost this much memory beyond the recording's, and this long.
MEMORY_BYTES = 400 << 20
SECONDS = 20.0


@pytest.fixture(scope="module")
def originals(synthetic_corpus: Path) -> dict[str, bytes]:
    """The files of one take, by name relative to the corpus."""
    real = Path(__file__).resolve().parents[3] / "shared/data/beat2/beat_english_v2.0.0"
    root, take_id = (
        (real, "2_scott_0_1_1") if real.is_dir() else (synthetic_corpus, _first(synthetic_corpus))
    )
    names = [f"{folder}/{take_id}{suffix}" for folder, suffix in PARTS.values()]
    names.append("train_test_split.csv")
    return {name: (root / name).read_bytes() for name in names if (root / name).is_file()}


def _first(corpus: Path) -> str:
    return list_takes(corpus).take_ids[0]


def places(size: int) -> st.SearchStrategy[int]:
    """Positions in a file; often near its ends, where headers and directories are."""
    return st.one_of(
        st.integers(0, min(300, size - 1)),
        st.integers(max(0, size - 300), size - 1),
        st.integers(0, size - 1),
    )


@st.composite
def mutations(draw: st.DrawFn, size: int) -> list[tuple[str, int, bytes | int]]:
    """Up to four edits of a file of `size` bytes."""
    kinds = st.sampled_from(["overwrite", "insert", "remove", "truncate", "repeat", "swap"])
    texts = [
        b"\0",
        b"\r\n",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"-1",
        b"1e999",
        b"nan",
        b'"',
        b"\t",
        b",",
    ]
    found: list[tuple[str, int, bytes | int]] = []
    for _ in range(draw(st.integers(1, 4))):
        kind, at = draw(kinds), draw(places(size))
        if kind in ("overwrite", "insert"):
            what: bytes | int = draw(st.sampled_from(texts) | st.binary(min_size=1, max_size=16))
        else:
            what = draw(st.integers(1, 5000))
        found.append((kind, at, what))
    return found


def mutate(data: bytes, edits: list[tuple[str, int, bytes | int]]) -> bytes:
    for kind, at, what in edits:
        if isinstance(what, bytes):
            data = data[:at] + what + data[at + (len(what) if kind == "overwrite" else 0) :]
        elif kind == "remove":
            data = data[:at] + data[at + what :]
        elif kind == "truncate":
            data = data[:at]
        elif kind == "repeat":
            data = data[: at + what] + data[at:]
        else:
            piece = data[at : at + what]
            data = data[:at] + data[at + what : at + 2 * what] + piece + data[at + 2 * what :]
    return data


def try_mutations(originals: dict[str, bytes], root: Path, cases: int) -> dict[str, int]:
    """How many cases were read and how many refused."""
    outcomes = {"read": 0, "refused": 0}
    for name, content in originals.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    take_id = next(iter(originals)).rsplit("/", 1)[-1].split(".")[0]
    small = [name for name in originals if not name.endswith((".npz", ".wav"))]

    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def case(data: st.DataObject) -> None:
        # Text is where parsers go wrong; the arrays are as large as they are slow.
        name = data.draw(st.sampled_from([*originals, *small]))
        edits = data.draw(mutations(len(originals[name])))
        (root / name).write_bytes(mutate(originals[name], edits))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        try:
            listing = list_takes(root)
            if take_id in listing.take_ids:
                take = read_take(root, take_id)
                take.validate()
                assert take.to_table().num_rows == 1
            outcomes["read"] += 1
        except BadInput as error:
            assert error.file and error.field and error.found and error.expected
            assert name in error.file or error.file == take_id
            outcomes["refused"] += 1
        except UserError as error:
            assert name == "train_test_split.csv" and name in str(error)
            outcomes["refused"] += 1
        finally:
            (root / name).write_bytes(originals[name])
        assert time.monotonic() - started < SECONDS
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown * 1024 < MEMORY_BYTES

    case()
    return outcomes


@pytest.mark.parametrize("cases", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_no_mutation_of_a_file_crashes_a_reader(
    originals: dict[str, bytes], tmp_path: Path, cases: int
) -> None:
    outcomes = try_mutations(originals, tmp_path, cases)
    assert sum(outcomes.values()) >= cases
    assert min(outcomes.values()) >= cases // 20  # neither everything passes nor nothing
