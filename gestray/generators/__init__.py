"""Generators: motion for speech, in the space of a frozen tokenizer's codes.

`contract` says what a generator does for anybody, `model` does it for any network over codes,
`semges` and `semtalk` are such networks; `task` says how they learn.
"""
