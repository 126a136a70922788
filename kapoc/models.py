"""A name -> a model and its tokenizer, with the identity of its weights."""

import copy
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from kapoc import default_model
from kapoc.allocation import keep_freed_memory
from kapoc.chat import PLAIN_TEMPLATE, encode, end_token, prompt_text, turn_ends
from kapoc.errors import ModelError, first_line
from kapoc.products import use_fastest_products
from kapoc.quiet import quiet_transformers
from kapoc.record import ModelIdentity

UNFINISHED = "UNFINISHED"
"""A file of this name marks a model folder whose writing or checking has not ended."""


_UNUSABLE_GENERATION = (
    "assistant_early_exit",
    "cache_config",
    "cache_implementation",
    "num_return_sequences",
    "penalty_alpha",
    "prompt_lookup_num_tokens",
    "return_dict_in_generate",
    "stop_strings",
    "token_healing",
)
_UNFIT = (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, UserWarning, SafetensorError)
"""What peft raises, or warns with, where an adapter is damaged, of another base, or of a kind that cannot be merged."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, its tokenizer and which weights it holds."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    identity: ModelIdentity


def best_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16, faster than in float32; other CPUs emulate it."""
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type != "cpu" or bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def load_model(
    name: str,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    unfinished: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> LoadedModel:
    """Load a causal language model.

    Args:
        name: `default`, a model folder, an adapter folder (merged into its base) or a Hub id.
        device: where to; the GPU where there is one.
        dtype: of the weights in memory, whatever the checkpoint holds.
        unfinished: take a folder that is still being checked; only the checks themselves do.
        tell: is given a line of text before each long step.

    Raises:
        ModelError: nothing of that name, a damaged checkpoint, or a weight that is not finite.
    """
    keep_freed_memory()
    source = name if unfinished else resolve(name, tell)
    with quiet_transformers():
        if (Path(source) / "adapter_config.json").is_file():
            model, tokenizer = _load_adapter(Path(source), dtype, tell)
        else:
            model, tokenizer = _load_pretrained(source, dtype, name)
    prepare_tokenizer(tokenizer)
    _fit_tokenizer(tokenizer, model, name)
    refuse_non_finite(model, name)
    _refuse_looking_ahead(model, tokenizer, name)
    identity = ModelIdentity(
        name=name,
        source="default"
        if name in {"default", default_model.NAME}
        else Path(source).name
        if Path(source).exists()
        else name,
        weights_sha256=weights_sha256(model),
        architecture=type(model).__name__,
        num_parameters=model.num_parameters(),
        dtype=str(dtype).removeprefix("torch."),
    )
    moved(model, device=device or best_device())
    use_fastest_products(model)
    return LoadedModel(model, tokenizer, identity)


def resolve(name: str, tell: Callable[[str], None] = lambda _: None) -> str:
    """The folder or Hub id behind a name.

    Raises:
        ModelError: a path that does not exist, a folder without a model, or an unfinished one.
    """
    if name in {"default", default_model.NAME}:
        return str(default_model.default_model_path(tell))
    path = Path(name)
    if path.is_dir():
        if (path / UNFINISHED).exists():
            raise ModelError(f"{path}: training or saving did not finish here; run `kapoc train` again")
        if not ((path / "config.json").is_file() or (path / "adapter_config.json").is_file()):
            raise ModelError(
                f"{path}: no model here (config.json is missing); name a folder that transformers can load"
            )
        return str(path)
    if path.exists():
        raise ModelError(f"{path}: is a file; name the folder that holds the model")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(
            f"'{name}': no such model; give base, trained, default, a model folder, an adapter folder, or a Hub id "
            "such as TinyLlama/TinyLlama-1.1B-Chat-v1.0"
        )
    return name


def hub_id(name: str) -> str | None:
    """The id on the Hub of a model that loads by this name; none of a folder."""
    if name in {"default", default_model.NAME}:
        return default_model.HUB_ID
    return None if Path(name).exists() else name


def _load_pretrained(source: str, dtype: torch.dtype, name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        loaded: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{name}: cannot be loaded ({first_line(error)}); {_advice(source)}") from None
    except Exception as error:
        if type(error).__module__.startswith(
            ("safetensors", "huggingface_hub", "httpx", "builtins", "pickle", "_pickle")
        ):
            raise ModelError(f"{name}: cannot be loaded ({first_line(error)}); {_advice(source)}") from None
        raise
    model, loading = loaded
    if missing := sorted(loading["missing_keys"]):
        raise ModelError(
            f"{name}: the checkpoint lacks {len(missing)} weights, {missing[0]} among them; {_advice(source)}"
        )
    return model, tokenizer


def _load_adapter(
    folder: Path, dtype: torch.dtype, tell: Callable[[str], None]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from peft import PeftModel

    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        base_name = str(config["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder}/adapter_config.json: cannot be read ({first_line(error)}); save it again") from None
    base, tokenizer = _load_pretrained(resolve(base_name, tell), dtype, base_name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for an attribute by its old name
            warnings.filterwarnings("error", message=".*missing adapter keys")  # they would be as good as untrained
            model = PeftModel.from_pretrained(base, str(folder)).merge_and_unload()
    except _UNFIT as error:
        raise ModelError(f"{folder}: the adapter does not fit its base ({first_line(error)}); save it again") from None
    if (folder / "tokenizer_config.json").is_file():
        tokenizer = AutoTokenizer.from_pretrained(folder)
    return model, tokenizer


def _advice(source: str) -> str:
    if Path(source).exists():
        return "the folder is damaged or incomplete; train or download it again"
    return "check the spelling and the network, or name a local folder"


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a tokenizer what it lacks: a chat template, and an existing token to pad with.

    Raises:
        ModelError: the tokenizer has no end token, or ends every text with it.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no end token (eos_token), so answers could never end; set one")
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if encode(tokenizer, "a b")[-1:] == [tokenizer.eos_token_id]:
        raise ModelError(
            "the tokenizer ends every text with its end token, so a prompt would be over before its answer; set "
            "add_eos_token to false in tokenizer_config.json"
        )


def _fit_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, name: str) -> None:
    """Keep a tokenizer to the rows that the embedding has: a padding token beyond them is replaced.

    Raises:
        ModelError: a chat needs a token that has no row, or its template is broken.
    """
    weight: Any = model.get_input_embeddings().weight
    num_rows = int(weight.shape[0])
    if int(tokenizer.pad_token_id) >= num_rows:
        tokenizer.pad_token = tokenizer.eos_token
    try:
        prompt, other = prompt_text(tokenizer, "Who?"), prompt_text(tokenizer, "When was the second lamp lit?")
        end_token(tokenizer, "Who?", "Nobody.")
    except (TemplateError, ValueError) as error:
        raise ModelError(f"{name}: the chat template cannot be used ({first_line(error)}); mend it") from None
    if prompt == other:
        raise ModelError(
            f"{name}: the chat template leaves out what is asked (it may want a list of parts); give it one for text"
        )
    needed = max(*encode(tokenizer, prompt), *turn_ends(tokenizer))
    if needed >= num_rows:
        raise ModelError(
            f"{name}: a chat needs the token {needed} ({tokenizer.convert_ids_to_tokens(needed)}), and the model has "
            f"{num_rows} rows of embeddings; save it with its own tokenizer, or with resized embeddings"
        )


@torch.no_grad()
def _refuse_looking_ahead(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuse a model whose logits depend on later tokens, as those of an encoder do: its scores would know the end.

    Raises:
        ModelError: they do.
    """
    ids = encode(tokenizer, "Two lamps stood in the window of the house")
    rows = torch.tensor([ids, [*ids[:-1], ids[0] if ids[0] != ids[-1] else ids[1]]])
    model.eval()
    try:
        first, second = model(input_ids=rows).logits[:, :-1].float()
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return  # what the model lacks is told where it is asked
    if not torch.allclose(first, second, rtol=1e-2, atol=1e-2):
        raise ModelError(
            f"{name}: {type(model).__name__} reads what stands behind a word before it predicts it; give a causal "
            "language model"
        )


def refuse_non_finite(model: PreTrainedModel, name: str) -> None:
    """Scan every weight.

    Raises:
        ModelError: a weight is inf or nan; the line names the tensor.
    """
    for tensor_name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"{name}: the weight {tensor_name} holds inf or nan; the model is broken, train it again")


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """A model without dropout, and afterwards as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


class FiniteLogits(LogitsProcessor):
    """Stops generation at the first logit that is not finite, instead of letting argmax hide it.

    Raises:
        ModelError: a logit is nan, or no logit of a row is finite.
    """

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Pass the scores on unchanged."""
        if torch.isnan(scores).any() or torch.isposinf(scores).any() or torch.isneginf(scores).all(-1).any():
            raise ModelError(f"the model's logits are inf or nan after {input_ids.shape[1]} tokens; train it again")
        return scores


def moved(
    model: PreTrainedModel, *, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> PreTrainedModel:
    """The model on another device or in another dtype, ready to be asked."""
    torch.nn.Module.to(model, device=device, dtype=dtype)
    model.eval()
    return model


def weights_sha256(model: PreTrainedModel) -> str:
    """The sha256 over all tensors as float32, in the order of their names: the same for any file layout."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()


def package_versions(*more: str) -> dict[str, str]:
    """The versions of what every number depends on, and of more packages where one depends on them, too."""
    from importlib.metadata import version

    return {name: version(name) for name in ("kapoc", "torch", "transformers", "lm-eval", "tokenizers", *more)}


def stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids at which generation ends.

    Those of the generation config, the tokenizer's end token, and that with which the chat template closes an answer:
    base and trained model then end alike, whatever the base's config knows of its template.
    """
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    listed = configured if isinstance(configured, list) else [] if configured is None else [configured]
    closing = end_token(tokenizer, "Who?", "Nobody.")
    return sorted({int(token) for token in listed} | {int(tokenizer.eos_token_id), closing})


def context_of(model: PreTrainedModel) -> int | None:
    """How many tokens a model reads at once; none where its config does not say."""
    config = model.config.get_text_config()
    found = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None)  # MPT's name
    return None if found is None else int(found)


@contextmanager
def usable_generation(model: PreTrainedModel) -> Iterator[None]:
    """A model's generation config without what `generate` could not do here, and afterwards as it was.

    That is what needs a tokenizer, another package or another model, or returns something else than one row a prompt.
    """
    config = model.generation_config
    if config is None:
        yield
        return
    plain, usable = GenerationConfig(), copy.deepcopy(config)
    for setting in _UNUSABLE_GENERATION:
        setattr(usable, setting, getattr(plain, setting, None))
    find = getattr(model, "get_base_model", None)  # of peft, which copies the config into what it wraps
    kept = {holder: holder.generation_config for holder in ((model, find()) if callable(find) else (model,))}
    model.generation_config = usable
    try:
        yield
    finally:
        for holder, own in kept.items():
            holder.generation_config = own


def decoding_sha256(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """The sha256 of what decides, beside weights and chat template, what a model reads and where its answers end.

    That is the tokenizer (without what its last caller set it to: padding, truncation) and the generation config.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    cut = json.loads(backend.to_str()) if backend is not None else tokenizer.get_vocab()
    config = model.generation_config.to_diff_dict() if model.generation_config is not None else {}
    for whole, idle in ((cut, ("padding", "truncation")), (config, ("transformers_version", "_from_model_config"))):
        for name in idle:
            whole.pop(name, None)
    parts = (cut, sorted(tokenizer.all_special_ids), int(tokenizer.eos_token_id), config)
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a standalone folder: weights, tokenizer, chat template and generation config.

    Raises:
        OSError: it cannot be written, whatever a library makes of that.
    """
    try:
        with quiet_transformers():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except Exception as error:  # what safetensors and tokenizers make of a full disk is no OSError
        if isinstance(error, SafetensorError) or "os error" in str(error):
            raise OSError(None, first_line(error), str(folder)) from None
        raise
