"""The blinded preference study: two methods side by side, and people who say which is better.

`plan` is what a study holds and who sees what of it, `desk` what participants may see and how
their answers are kept, `app` the server and its page. Studies are made and reported by
`jobs.study`.
"""
