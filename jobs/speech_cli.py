"""`gestray speech`: what recordings need before they are ingested."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from jobs.command import AsJson, group, print_json
from jobs.display import metrics_table, results

app = group("Words and their times.")


@app.callback()
def _speech() -> None:
    """Keeps `align` a command of its own while it is the only one."""


@app.command("align")
def speech_align(
    audio: Annotated[Path, typer.Option(help="A recording, or a folder of them.")],
    transcript: Annotated[Path, typer.Option(help="What is said: a .txt, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="TextGrid to write, or a folder for them.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """Find when each word of an English transcript is spoken; ingest reads the TextGrids.

    Examples: `gestray speech align --audio a.mp3 --transcript a.txt --out a.TextGrid`;
    `gestray speech align --audio wave16k --transcript text --out textgrid`. Given again, only
    what is new or changed is aligned. Needs the extra `align`.
    """
    from dataclasses import asdict

    from jobs.speech import align_files

    summary = asdict(align_files(audio, transcript, out, workers))
    if as_json:
        print_json({"out": str(out), **summary})
    else:
        results.print(metrics_table("speech align", summary))
        results.print(str(out), markup=False, soft_wrap=True)
