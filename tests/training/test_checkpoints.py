"""Checkpoints in the store: which stay, and what becomes of one that cannot be written."""

from __future__ import annotations

import pytest
import torch

from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.checkpoint import TrainingState
from gestray.training.checkpoints import Checkpoints


def state(step: int) -> TrainingState:
    model = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(model.weight, step)
    return TrainingState(model, (torch.optim.AdamW(model.parameters()),), step=step)


def names(folder: Folder) -> list[int]:
    return [int(name.rsplit("step-", 1)[-1]) for name in folder.list()]


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.s3)])
def folder(request, tmp_path, monkeypatch) -> Folder:
    """An empty folder on a disk, and one in an object store."""
    if request.param == "disk":
        return Folder(str(tmp_path / "run"))
    for name, value in request.getfixturevalue("s3").items():
        monkeypatch.setenv(name, value)
    return Folder("s3://gestray/checkpoints/run")


def test_the_newest_and_every_fourth_stay(folder):
    with Checkpoints(folder, keep=2, keep_every=40) as checkpoints:
        for step in range(10, 101, 10):
            checkpoints.save(state(step))
        checkpoints.wait()
        assert names(folder) == [40, 80, 90, 100]
        assert checkpoints.latest() == 100
        restored = state(0)
        checkpoints.load(80, restored)
        assert restored.step == 80
        assert restored.model.weight.unique().tolist() == [80.0]
    checkpoints.clean()
    assert names(folder) == [40, 80]
    Checkpoints(folder).clean()
    assert folder.list() == [] and not folder.exists()


def test_one_that_was_cut_off_is_not_gone_on_from(tmp_path):
    folder = Folder(str(tmp_path))
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(state(10), last=True)
        checkpoints.save(state(20), last=True)
        (tmp_path / "step-00000020" / "state.json").unlink()
        assert checkpoints.latest() == 10
    assert Checkpoints(Folder(str(tmp_path / "nothing"))).latest() is None


def test_an_upload_that_fails_is_a_warning_and_the_last_one_an_error(tmp_path, monkeypatch):
    folder = Folder(str(tmp_path))
    write = Folder.write_bytes
    broken = {"step-00000020", "step-00000040"}

    def fails(self, data, *parts):
        if self.name in broken:
            raise OSError("the store is away")
        write(self, data, *parts)

    monkeypatch.setattr(Folder, "write_bytes", fails)
    warnings: list[str] = []
    with Checkpoints(folder, warn=warnings.append) as checkpoints:
        for step in (10, 20, 30):
            checkpoints.save(state(step))
        checkpoints.wait()
        assert len(warnings) == 1 and "the store is away" in warnings[0]
        assert checkpoints.latest() == 30
        with pytest.raises(OSError, match="the store is away"):
            checkpoints.save(state(40), last=True)


def test_weights_of_another_model_are_named_with_what_to_do(tmp_path):
    import torch
    from torch import nn

    from gestray.config import Config
    from gestray.training.checkpoint import MODEL, load_pretrained, save_config, save_model

    class Width(Config):
        width: int = 3

    save_config(Width(), Folder(str(tmp_path)))
    save_model(tmp_path / MODEL, nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"model\.safetensors: .*size mismatch.*train it again"):
        load_pretrained(Folder(str(tmp_path)), lambda config: nn.Linear(2, config.width), Width)
    save_model(tmp_path / MODEL, nn.Linear(2, 3))
    model = load_pretrained(Folder(str(tmp_path)), lambda config: nn.Linear(2, config.width), Width)
    assert model(torch.ones(1, 2)).shape == (1, 3) and not model.training
