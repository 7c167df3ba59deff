"""The model card of an encoder: what it is, what it follows, and what was measured with it.

An artifact does not change once it is whole, and an encoder is evaluated after it is trained. So
its own card has what training knows; an evaluation that wants a card with its table calls
`model_card` with it, and keeps the card among its own files, or writes it beside a copy of the
encoder (`DualEncoder.save_pretrained`).
"""

from __future__ import annotations

from collections.abc import Mapping

from gestray.encoders.config import EncoderConfig

CARD = "README.md"

_NAMES = {"text": "text", "speech": "speech", "text+speech": "text and speech"}


def model_card(
    config: EncoderConfig,
    title: str = "A gestray encoder",
    facts: Mapping[str, str | int | float] | None = None,
    results: Mapping[str, Mapping[str, float]] | None = None,
    remark: str = "",
) -> str:
    """A card in Markdown.

    Args:
        title: such as the preset's name.
        facts: lines about data and training.
        results: measured figures, column by column of each row: `{"text to gesture": {"R@1": …}}`.
        remark: beside the table: on which data, by which protocol, whether synthetic.
    """
    asked = config.objectives
    weights = {
        name: getattr(asked, name)
        for name in ("transcript", "form", "intent", "coupling", "sync", "reconstruction")
        if getattr(asked, name)
    }
    lines = [
        "---", "library_name: gestray", "tags: [co-speech gesture, retrieval]", "---", "",
        f"# {title}", "",
        f"A dual encoder of co-speech gestures (SMPL-X, 30 fps) and {_NAMES[config.query]}, made "
        f"with gestray. Both lie in one space of {config.dim} dimensions, where the cosine says "
        "how well they go together.", "",
        "```python",
        "from gestray.encoders.model import DualEncoder",
        'encoder = DualEncoder.from_pretrained("FOLDER or s3://…")',
        "```", "",
        "| | |", "|---|---|",
        f"| motion | {config.motion.input}, {config.motion.layers} layers of "
        f"{config.motion.width} |",
    ]  # fmt: skip
    if config.reads:
        lines.append(f"| text | `{config.text.model}`, {config.text.train} |")
    if config.hears:
        lines.append(f"| speech | `{config.speech.model}` |")
    lines.append(f"| objectives | {', '.join(f'{k} {v:g}' for k, v in weights.items())} |")
    lines += [f"| {name} | {_shown(value)} |" for name, value in (facts or {}).items()]
    lines += ["", "## Measured", ""]
    if not results:
        lines.append("Nothing yet: `gestray evaluate retrieval` measures.")
    else:
        columns = list(next(iter(results.values())))
        lines += ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for name, row in results.items():
            lines.append(f"| {name} | " + " | ".join(_shown(row[c]) for c in columns) + " |")
    if remark:
        lines += ["", remark]
    return "\n".join(lines) + "\n"


def _shown(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
