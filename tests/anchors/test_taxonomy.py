"""Taxonomies of one's own: what they change, and how what is wrong with one is named."""

from __future__ import annotations

import pickle
from importlib import resources

import pytest

from gestray.anchors.rules import ground
from gestray.anchors.taxonomy import Taxonomy, load_taxonomy, read_taxonomy
from gestray.errors import UserError
from tests.anchors.test_grounding import RIGHT

OWN = """\
name: markets
version: 1
unsupported: {hands: right, form: It circles., transcript: at ten, motion: a circle, words: [],
  sentence: The words do not say what the circle shows.}
intents:
  bull market:
    definition: Prices rise.
    emblem: false
    cues: {strong: [sales grew], weak: []}
    forms:
      - {direction: up, path: straight}
    example: {hands: right, form: It rises., transcript: sales grew, motion: a rise,
      words: [grew], sentence: Sales rise.}
    sentence: Something rises{words}.
"""


def changed(old: str, new: str) -> str:
    assert OWN.count(old) == 1
    return OWN.replace(old, new)


def test_ones_own_file_takes_the_place_of_the_shipped_one(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(OWN)
    taxonomy = load_taxonomy(str(file))

    intent, _ = ground(RIGHT, "then sales grew", taxonomy)

    assert intent is not None
    assert (intent.label, intent.sentence) == (
        "bull market",
        'Something rises, saying "sales grew".',
    )


def test_anchors_carry_a_taxonomy_along_unchanged():
    """What is unset in a pattern must stay unset: it would become a condition."""
    taxonomy = load_taxonomy()
    for again in (
        Taxonomy.model_validate_json(taxonomy.to_json()),
        pickle.loads(pickle.dumps(taxonomy)),
    ):
        assert again.hash == taxonomy.hash and again.labels == taxonomy.labels
        pattern = again.intents["growth"].forms[0]
        assert pattern.model_fields_set == taxonomy.intents["growth"].forms[0].model_fields_set


def test_the_hash_is_of_what_is_said_in_its_order():
    first = read_taxonomy("a", OWN)

    assert read_taxonomy("b", f"# a comment\n{OWN}").hash == first.hash
    assert read_taxonomy("c", changed("Prices rise.", "Prices fall.")).hash != first.hash
    assert read_taxonomy("d", changed("strong: [sales grew]", "strong: [up]")).hash != first.hash


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (changed("direction: up", "direction: upwards"),
         r"line 11: intents.bull market.forms.0.direction.0: found 'upwards'; Input should be "),
        (changed("    emblem: false\n", ""), "line 6: intents.bull market.emblem: .*required"),
        (changed("emblem: false", "emblen: false"), "line 8: intents.bull market.emblen: .*Extra"),
        (changed("weak: []", "weak: [yes]"), "line 9: .*market.cues.weak.0: found 'True'"),
        (changed("Something rises{words}", "It {rises}"), "line 14: .*sentence: .*braces"),
        (changed("  bull market:", "  none:"), "line 5: intents: .*'none' is what is said"),
        (changed("  bull market:", "  Bull <market>:"), "line 6: .*should match pattern"),
        (OWN + "  bull market: {}\n", "line 15: intents.bull market: twice, first in line 6"),
        (changed("version: 1", "version: [1"), "line 3: not YAML"),
        ("", "line 1: file: found 'None'; Input should be"),
        ("intents: {}", r"line 1: intents: found '\{\}'"),
        (changed("form: It rises.", "form: It rises., form: It falls."), "line 12: .*form: twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_line_and_key(text, complaint):
    with pytest.raises(UserError, match=f"taxonomy mine.yaml:[\\s\\S]*{complaint}"):
        read_taxonomy("mine.yaml", text)


def test_all_that_is_wrong_is_named_at_once():
    text = changed("direction: up", "direction: upwards").replace("version: 1", "version: one")

    with pytest.raises(UserError, match=r"line 2: version: [\s\S]*line 11: "):
        read_taxonomy("mine.yaml", text)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"taxonomy .*absent.yaml: cannot be read as text"):
        load_taxonomy(str(tmp_path / "absent.yaml"))


def test_the_shipped_file_says_how_to_change_it():
    text = resources.files("gestray.anchors").joinpath("intents.yaml").read_text("utf-8")
    assert "taxonomy=mine.yaml" in text
