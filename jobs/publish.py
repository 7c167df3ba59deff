"""An evaluated encoder as a folder of its own, with a card that says what was measured."""

from __future__ import annotations

import json

from gestray.artifacts import Artifact
from gestray.config import make_config
from gestray.encoders.card import model_card
from gestray.encoders.config import EncoderConfig
from gestray.errors import UserError
from gestray.reports.retrieval import (
    DIRECTION_TITLES,
    MEANING_COLUMNS,
    WORD_COLUMNS,
    MethodResult,
    direction_columns,
)
from gestray.training.checkpoint import CONFIG
from jobs.evaluate import read_methods

_TASKS = {
    "semantic": "intents found, text → gesture",
    "spotting": "gesture word spotting",
    "active_speaker": "active speaker, whole clips",
}


def publish(evaluation: Artifact, method: str, out: str) -> None:
    """Write the first training run of a method, `from_pretrained`'s files and its card.

    Args:
        out: a folder or ``s3://`` URI.

    Raises:
        UserError: the evaluation has no such method.
    """
    from gestray.encoders.model import DualEncoder

    methods, gallery_size, synthetic = read_methods(evaluation)
    by_name = {result.name: result for result in methods}
    roles = [role for role in evaluation.manifest.inputs if role.split("@")[0] == method]
    if method not in by_name or not roles:
        raise UserError(
            f"{evaluation.uri}: found no method {method!r}; it has {', '.join(by_name)}"
        )
    encoder = evaluation.input(roles[0]).input("encoder")
    own = json.loads(encoder.folder.read_bytes(CONFIG))
    config = make_config(EncoderConfig, own, encoder.uri)
    card = method_card(config, by_name[method], gallery_size, synthetic, evaluation)
    DualEncoder.from_folder(encoder.folder).save_pretrained(out, card)


def method_card(
    config: EncoderConfig,
    method: MethodResult,
    gallery_size: int,
    synthetic: bool,
    evaluation: Artifact,
) -> str:
    """The card of a method with its measured figures, in percent."""
    results = {
        title: {
            column.title: method.figures[column.name] * (1 if column.is_rank else 100)
            for column in direction_columns(direction)
        }
        for direction, title in DIRECTION_TITLES.items()
        if f"{direction}.r1" in method.figures
    }
    facts = {}
    for task, title in _TASKS.items():
        columns = [
            f"{column.title} {100 * method.figures[column.name]:.1f} %"
            for column in (*MEANING_COLUMNS, *WORD_COLUMNS)
            if column.name.startswith(f"{task}.") and column.name in method.figures
        ]
        if columns:
            facts[title] = ", ".join(columns)
    seeds = len(method.seeds)
    remark = (
        f"In percent (MedR: a rank), mean of {seeds} training run{'s' if seeds > 1 else ''}, of "
        f"which these weights are seed {method.seeds[0]}; a gallery of {gallery_size} test "
        f"phrases. {'**Synthetic data.** ' if synthetic else ''}Measured by gestray: "
        f"{evaluation.uri}."
    )
    return model_card(config, method.name, facts, results, remark)
