"""The page at which anchors are read and corrected, and its server.

It is in `serving` and not in `gestray.reports`: a report is a file that stands alone, this is
alive. `page/` is what the browser gets: plain modules and one style sheet, no framework and no
build. `desk` is what can be done there, `app` how it is asked for, `guard` who may.
"""
