"""Ways to choose recorded gestures for what is said.

`contract` says what a strategy is; each of the others is one. `jobs.retrieved` puts what they
choose under the words.
"""
