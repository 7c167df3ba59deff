"""The synthetic corpus: invented talk with gestures whose form and meaning are known.

It is what gestray runs on when nothing else is at hand, and the only corpus with gold
descriptions of every gesture, so it is also what tests and benchmarks measure against.
"""

from gestray.corpora.synthetic.write import CorpusSummary, write_corpus

__all__ = ["CorpusSummary", "write_corpus"]
