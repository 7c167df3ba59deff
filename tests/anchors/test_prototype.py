"""Prototypes: from the form to a motion and back, for the whole synthetic vocabulary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gestray.anchors.prototype import prototype
from gestray.anchors.verbalize import describe, mirrored
from gestray.corpora.synthetic.gold import gold_form
from gestray.corpora.synthetic.speakers import SPEAKERS
from gestray.corpora.synthetic.stroke import make_gesture
from gestray.corpora.synthetic.vocabulary import BEAT, GESTURES
from gestray.errors import UserError
from gestray.form import PhysicalForm
from gestray.motion.kinematics import mirror_poses


def gold_forms(seed: int) -> dict[str, PhysicalForm]:
    """The form of every variant of every gesture type, as one speaker makes it."""
    forms = {}
    for name, kind in {**GESTURES, "beat": BEAT}.items():
        for number, variant in enumerate(kind.variants):
            gesture = make_gesture(
                replace(kind, variants=(variant,)),
                SPEAKERS[seed],
                start_s=2.0,
                cover_s=0.0,
                rng=np.random.default_rng([seed, number]),
                flicks_s=(2.2, 2.6) if kind is BEAT else (),
            )
            forms[f"{name} {number}"] = gold_form(gesture)
    return forms


def without_prototype(forms: dict[str, PhysicalForm]) -> set[str]:
    missing = set()
    for name, form in forms.items():
        try:
            assert describe(prototype(form)).form == form, name
        except UserError:
            missing.add(name)
    return missing


def test_gold_forms_have_a_prototype_that_is_described_by_them() -> None:
    assert not without_prototype(gold_forms(0))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(len(SPEAKERS)))
def test_so_have_every_speakers_and_every_mirrored_one(seed: int) -> None:
    forms = {name: mirrored(form) for name, form in gold_forms(seed).items()}
    assert len(without_prototype(forms)) <= 0.03 * len(forms)


def test_the_mirror_image_of_a_prototype_has_the_mirrored_form() -> None:
    form = gold_forms(0)["point_left 0"]
    motion = torch.from_numpy(prototype(form))
    assert describe(mirror_poses(motion)).form == mirrored(form) != form


def test_a_head_moves_without_hands() -> None:
    for head in ("none", "nod", "shake"):
        form = PhysicalForm(handedness="none", head=head)
        assert describe(prototype(form)).form == form


def test_forms_that_no_body_makes_are_outside_the_domain() -> None:
    form = gold_forms(0)["point_left 0"]
    assert form.left is not None
    out_of_reach = form.left.location.model_copy(update={"height": "below waist", "reach": "far"})
    hand = form.left.model_copy(update={"location": out_of_reach})
    with pytest.raises(UserError, match="does not reach"):
        prototype(form.model_copy(update={"left": hand}))
    # A circle is named by where its top or front goes, which is neither up nor down.
    circling = form.left.trajectory.model_copy(update={"path": "circle", "direction": "up"})
    hand = form.left.model_copy(update={"trajectory": circling})
    with pytest.raises(UserError, match=r"the nearest differs in left trajectory"):
        prototype(form.model_copy(update={"left": hand}))
