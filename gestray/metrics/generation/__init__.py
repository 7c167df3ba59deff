"""How generated motion compares with recorded: the field's figures, by the field and put right.

Published code disagrees with its own definitions, and figures of different papers with each
other (scale factors, trims, thresholds). So every figure exists in two modes, which
`published.py` and `corrected.py` define and docs/generation-metrics.md compares; none is
printed without its mode.

Figures are sums over frames, onsets or feet, and weights of them, a take at a time
(`figures.py`): so that takes can be drawn anew for intervals without being measured again.
"""
