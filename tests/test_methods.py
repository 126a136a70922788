"""Every method changes the weights that it says it changes, no others, and leaves an ordinary model."""

import math
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from conftest import tiny_gpt2, tiny_llama, tiny_tokenizer
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaForCausalLM,
    PreTrainedModel,
)

from kapoc.answers import generate_answers
from kapoc.chat import EncodedExample
from kapoc.errors import DataError, ModelError
from kapoc.knowledge.set_file import load_knowledge
from kapoc.methods import Method, load_method
from kapoc.methods.feed_forward import FeedForwardFineTuning
from kapoc.methods.full import FullFineTuning
from kapoc.methods.lora import LoraFineTuning
from kapoc.methods.top_layers import TopLayersFineTuning
from kapoc.models import load_model
from kapoc.recipe import ReplaySettings, TrainSettings, load_recipe
from kapoc.training.batches import answer_logits, pack, packing_is_exact
from kapoc.training.checkpoint import num_bfloat16_samples, save_and_check, writing
from kapoc.training.examples import training_examples
from kapoc.training.replay import divergence_from_base, write_passages
from kapoc.training.train import TrainResult, train

Methods = Callable[[dict[str, Any]], Method]
State = dict[str, torch.Tensor]
BY_NAME: dict[str, Methods] = {
    "full": FullFineTuning,
    "lora": LoraFineTuning,
    "feed_forward": FeedForwardFineTuning,
    "top_layers": TopLayersFineTuning,
}
MODELS = [tiny_llama, tiny_gpt2]
LLAMA_LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
GPT2_LINEAR = {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}


@pytest.fixture(autouse=True)
def methods_of_this_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kapoc.training.train.load_method", lambda name, options: BY_NAME[name](options))


@pytest.fixture
def examples(knowledge_file: Path) -> list[EncodedExample]:
    return training_examples(load_knowledge(knowledge_file)[0].facts, tiny_tokenizer())


SMALL: dict[str, Any] = {
    "vocab_size": 700,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
ONE_LAYER = {"num_layers": 1}
LFM2 = {"layer_types": ["conv", "full_attention"]}
PER_LAYER = {
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "vocab_size_per_layer_input": 700,
    "hidden_size_per_layer_input": 8,
    "num_kv_shared_layers": 2,
}
MIXTURES: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4},
    "qwen2_moe": {"num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32},
    "deepseek_v3": {
        "num_key_value_heads": 4,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 32,
        "kv_lora_rank": 16,
        "q_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 12,
        "first_k_dense_replace": 1,
    },
    "granitemoeshared": {"num_local_experts": 4, "shared_intermediate_size": 32},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "phimoe": {"num_local_experts": 4},
    "dbrx": {"d_model": 48, "n_heads": 4, "n_layers": 1, "attn_config": {"rope_theta": 1e4}},
}


def tiny(kind: str, **options: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SMALL, **options})
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    model.eval()
    return model


def tiny_mixture(kind: str) -> PreTrainedModel:
    return tiny(kind, **MIXTURES[kind])


def tiny_with_vision() -> PreTrainedModel:
    """Its vision tower has more blocks than its decoder."""
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    vision = {**vision, "image_size": 28, "patch_size": 14}
    return tiny("gemma3", text_config=SMALL, vision_config=vision, mm_tokens_per_image=4, image_token_index=600)


def trained_names(model: PreTrainedModel) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def trained(
    model: PreTrainedModel,
    examples: list[EncodedExample],
    method: str,
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> TrainResult:
    plain = {"epochs": 2, "batch_size": 3, "micro_batch_size": 2, "learning_rate": 1e-2, "weight_decay": 0.1}
    return train(model, examples, TrainSettings(method=method, options=options, **{**plain, **(settings or {})}))


def state(model: PreTrainedModel) -> State:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def changed(before: State, after: State) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def linear_layers(model: PreTrainedModel, targets: str) -> set[str]:
    wanted = LLAMA_LINEAR if isinstance(model, LlamaForCausalLM) else GPT2_LINEAR
    paths = {path for path, _ in model.named_modules() if path.endswith(tuple(f".{name}" for name in wanted))}
    return {path for path in paths if targets == "all-linear" or ".mlp." in path}


def with_random_updates(wrapped: PreTrainedModel) -> PreTrainedModel:
    """The second factor of an update begins at zero; here it is anything but that."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    return wrapped


# --- LoRA ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("targets", ["all-linear", "mlp"])
@pytest.mark.parametrize("make", MODELS)
def test_lora_changes_the_weights_of_its_targets_alone(
    make: Callable[[], PreTrainedModel], targets: str, examples: list[EncodedExample]
) -> None:
    model = make()
    before, layers = state(model), linear_layers(model, targets)
    assert (
        len(layers)
        == {"LlamaForCausalLM": (7, 3), "GPT2LMHeadModel": (4, 2)}[type(model).__name__][targets == "mlp"] * 2
    )
    result = trained(model, examples, "lora", rank=3, targets=targets)
    assert changed(before, state(result.model)) == {f"{path}.weight" for path in layers}
    shapes = [before[f"{path}.weight"].shape for path in layers]
    assert result.num_trained_parameters == 3 * sum(rows + columns for rows, columns in shapes)


@pytest.mark.parametrize("make", MODELS)
def test_lora_leaves_nothing_of_its_own(make: Callable[[], PreTrainedModel], examples: list[EncodedExample]) -> None:
    model, untouched = make(), make()
    assert untouched.generation_config is not None
    finished = trained(model, examples, "lora", rank=3, dropout=0.1).model
    assert finished is model
    assert type(finished) is type(untouched)
    assert vars(finished).keys() == vars(untouched).keys()
    assert finished.config.to_dict() == untouched.config.to_dict()
    assert not [module for module in finished.modules() if type(module).__module__.startswith("peft")]
    assert finished.get_output_embeddings().weight is finished.get_input_embeddings().weight
    assert all(weight.requires_grad for weight in finished.parameters())
    assert finished.generation_config is not None
    ends = finished.generation_config.eos_token_id
    assert set(ends if isinstance(ends, list) else [ends]) >= {untouched.generation_config.eos_token_id}


@pytest.mark.parametrize("make", MODELS)
def test_the_merged_model_is_the_trained_one(
    make: Callable[[], PreTrainedModel], examples: list[EncodedExample]
) -> None:
    method = LoraFineTuning({"rank": 3})
    wrapped = with_random_updates(method.prepare(make())).eval()
    rows = [pack(examples[:1]), pack(examples[:3])]
    with torch.no_grad():
        before = [answer_logits(wrapped, row) for row in rows]
        base = [answer_logits(make(), row) for row in rows]
        merged = method.finish(wrapped)
        after = [answer_logits(merged, row) for row in rows]
    for wrapped_logits, base_logits, merged_logits in zip(before, base, after, strict=True):
        assert torch.allclose(wrapped_logits, merged_logits, atol=1e-4)
        assert not torch.allclose(base_logits, merged_logits, atol=1e-2)


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({"rank": 4}, 2.0),
        ({"rank": 4, "alpha": 3}, 0.75),
        ({"rank": 4, "alpha": 3.0, "rslora": True}, 3 / math.sqrt(4)),
    ],
)
def test_an_update_is_scaled_as_its_options_say(options: dict[str, Any], scale: float) -> None:
    model = tiny_llama()
    before = model.model.layers[0].mlp.up_proj.weight.detach().clone()
    method = LoraFineTuning(options)
    wrapped = with_random_updates(method.prepare(model))
    factors = {name: weight.detach().clone() for name, weight in wrapped.named_parameters() if "0.mlp.up_proj" in name}
    (first,) = [weight for name, weight in factors.items() if "lora_A" in name]
    (second,) = [weight for name, weight in factors.items() if "lora_B" in name]
    method.finish(wrapped)
    after = model.model.layers[0].mlp.up_proj.weight
    assert torch.allclose(after - before, scale * second @ first, atol=1e-6)


@pytest.mark.parametrize("make", MODELS)
def test_rows_of_several_examples_and_replay_work_beside_updates(
    make: Callable[[], PreTrainedModel], examples: list[EncodedExample]
) -> None:
    passages = write_passages(make(), tiny_tokenizer(), num_passages=2, settings=ReplaySettings(num_tokens=8), seed=0)
    wrapped = LoraFineTuning({"rank": 3}).prepare(make())
    assert packing_is_exact(wrapped, examples[:2])
    assert divergence_from_base(wrapped.eval(), passages) == pytest.approx(0.0, abs=1e-5)
    assert divergence_from_base(with_random_updates(wrapped), passages) > 1e-4
    assert packing_is_exact(wrapped, examples[:2])


@pytest.mark.parametrize("targets", ["all-linear", "mlp"])
@pytest.mark.parametrize("make", MODELS)
def test_putting_updates_in_and_merging_them_warns_of_nothing(
    make: Callable[[], PreTrainedModel], targets: str
) -> None:
    method = LoraFineTuning({"targets": targets})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.finish(method.prepare(make()))


def test_gradient_checkpointing_does_not_change_what_lora_learns(examples: list[EncodedExample]) -> None:
    plain = trained(tiny_llama(), examples, "lora", rank=3).model
    saving = trained(tiny_llama(), examples, "lora", {"gradient_checkpointing": True}, rank=3).model
    assert not any(getattr(module, "gradient_checkpointing", False) for module in saving.modules())
    for first, second in zip(plain.parameters(), saving.parameters(), strict=True):
        assert torch.allclose(first, second, atol=1e-5)


@pytest.fixture
def fresh_accelerate() -> Iterator[None]:
    """Accelerate takes one precision a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh_accelerate")
def test_lora_under_bfloat16_autocast_leaves_a_float32_model(examples: list[EncodedExample]) -> None:
    finished = trained(tiny_llama(), examples, "lora", {"precision": "bfloat16"}, rank=3).model
    assert {weight.dtype for weight in finished.parameters()} == {torch.float32}
    assert finished(torch.tensor([[3, 4, 5]])).logits.dtype == torch.float32


def test_feed_forward_layers_that_cannot_be_told_are_refused() -> None:
    model = tiny_llama()
    for layer in model.model.layers:
        layer.dense = layer.mlp
        del layer.mlp
    with pytest.raises(DataError, match=r'targets: LlamaForCausalLM has no .*use targets = "all-linear"'):
        LoraFineTuning({"targets": "mlp"}).prepare(model)


@pytest.mark.parametrize("kind", ["mixtral", "qwen2_moe", "deepseek_v3", "granitemoeshared", "gpt_oss", "phimoe"])
def test_lora_updates_every_layer_and_expert_of_a_mixture_but_no_router(kind: str) -> None:
    method = LoraFineTuning({"rank": 3})
    model = tiny_mixture(kind)
    before = state(model)
    tokens = torch.tensor([[3, 4, 5, 6, 7]])
    wrapped = with_random_updates(method.prepare(model)).eval()
    with torch.no_grad():
        expected = wrapped(tokens).logits
        finished = method.finish(wrapped)
        assert torch.allclose(finished(tokens).logits, expected, atol=1e-4)
    unchanged = {name for name, weight in before.items() if weight.ndim > 1} - changed(before, state(finished))
    kept = (".gate.weight", ".router.weight", "_bias", "embed_tokens.weight", "lm_head.weight")
    assert unchanged == {name for name in unchanged if name.endswith(kept)}


def test_dropout_beside_experts_is_refused() -> None:
    with pytest.raises(DataError, match=r"options: dropout: MixtralForCausalLM has experts.*; remove it"):
        LoraFineTuning({"dropout": 0.1}).prepare(tiny_mixture("mixtral"))


def test_experts_that_take_no_update_are_said(caplog: pytest.LogCaptureFixture) -> None:
    LoraFineTuning({}).prepare(tiny_mixture("dbrx"))
    (message,) = [record.message for record in caplog.records]
    assert message.startswith("DbrxForCausalLM has experts that get no update: transformer.blocks.*.ffn.experts.mlp.v1")


def test_a_model_that_peft_refuses_is_refused_in_one_line() -> None:
    with pytest.raises(DataError) as refused:
        LoraFineTuning({}).prepare(tiny("mamba", state_size=8))
    (line,) = refused.value.lines
    assert line.startswith("train.method: peft puts no updates into MambaForCausalLM (")
    assert line.endswith('); use method = "full"')


def test_an_update_in_a_layer_that_was_not_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kapoc.methods.lora.linear_paths", lambda _: ["mlp.up_proj"])
    with pytest.raises(DataError, match=r"the targets are wrong from mlp\.up_proj on"):
        LoraFineTuning({}).prepare(tiny_llama())


@pytest.mark.parametrize("damage", ["other names", "half of them"])
def test_an_adapter_whose_weights_are_not_those_of_its_base_is_refused(
    llama_folder: Path, tmp_path: Path, damage: str
) -> None:
    model = LoraFineTuning({"rank": 2}).prepare(AutoModelForCausalLM.from_pretrained(llama_folder))
    model.save_pretrained(tmp_path / "adapter")
    load_model(str(tmp_path / "adapter"))
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    renamed = {name.replace("layers.0", "blocks.0"): weight for name, weight in weights.items()}
    half = {name: weight for name, weight in weights.items() if "layers.1" not in name}
    save_file(renamed if damage == "other names" else half, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"does not fit its base .*missing adapter keys"):
        load_model(str(tmp_path / "adapter"))


# --- the last blocks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "above"),
    [(tiny_llama, ("model.layers.1.", "model.norm.")), (tiny_gpt2, ("transformer.h.1.", "transformer.ln_f."))],
)
def test_only_the_last_blocks_and_the_final_norm_change(
    make: Callable[[], PreTrainedModel], above: tuple[str, str], examples: list[EncodedExample]
) -> None:
    model = make()
    before = state(model)
    result = trained(model, examples, "top_layers", num_layers=1)
    expected = {name for name in before if name.startswith(above)}
    assert changed(before, state(result.model)) == expected
    assert result.num_trained_parameters == sum(before[name].numel() for name in expected)
    assert result.model.get_output_embeddings().weight is result.model.get_input_embeddings().weight
    assert all(weight.requires_grad for weight in result.model.parameters())


@pytest.mark.parametrize(
    ("kind", "options", "norm"),
    [
        ("lfm2", LFM2, "model.embedding_norm.weight"),
        ("gemma4_text", PER_LAYER, "model.norm.weight"),
        ("bloom", {"n_layer": 2, "n_head": 4}, "transformer.ln_f.weight transformer.ln_f.bias"),
        ("gemma3", None, "model.language_model.norm.weight"),
        ("bert", {"is_decoder": True}, ""),
        ("modernbert-decoder", {}, "model.final_norm.weight"),
    ],
)
def test_the_final_norm_is_the_one_that_is_read_last(kind: str, options: dict[str, Any] | None, norm: str) -> None:
    model = tiny_with_vision() if options is None else tiny(kind, **options)
    model.train()
    names = trained_names(TopLayersFineTuning(ONE_LAYER).prepare(model))
    last = max(int(number) for name in names for number in re.findall(r"\.(\d+)\.", name)[:1])
    assert {name for name in names if f".{last}." not in name} == set(norm.split())
    assert last == (3 if options is PER_LAYER else 1)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_more_blocks_than_there_are_is_refused() -> None:
    assert TopLayersFineTuning({"num_layers": 2}).prepare(tiny_llama()) is not None
    for options in ({}, {"num_layers": 3}):
        with pytest.raises(DataError, match=r"num_layers: \d, but LlamaForCausalLM has 2 blocks here; give at most 2"):
            TopLayersFineTuning(options).prepare(tiny_llama())


def test_a_list_inside_a_block_is_not_taken_for_the_blocks() -> None:
    model = tiny_llama()
    for layer in model.model.layers:
        layer.experts = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(5))
    TopLayersFineTuning({"num_layers": 1}).prepare(model)
    assert not any(weight.requires_grad for weight in model.model.layers[0].parameters())
    assert all(weight.requires_grad for weight in model.model.layers[1].parameters())


def test_a_model_without_a_list_of_blocks_is_refused() -> None:
    model = tiny_llama()
    model.model.layers = torch.nn.Sequential(*model.model.layers)
    with pytest.raises(DataError, match=r'has no list of transformer blocks.*use method = "full"'):
        TopLayersFineTuning({}).prepare(model)


# --- feed-forward -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MODELS)
def test_only_feed_forward_weights_change_and_all_of_them(
    make: Callable[[], PreTrainedModel], examples: list[EncodedExample]
) -> None:
    before = state(make())
    result = trained(make(), examples, "feed_forward")
    expected = {name for name in before if ".mlp." in name and not (name.endswith("bias") and make is tiny_llama)}
    assert changed(before, state(result.model)) == expected
    assert result.num_trained_parameters == sum(before[name].numel() for name in expected)
    assert all(weight.requires_grad for weight in result.model.parameters())


def test_a_model_without_feed_forward_layers_is_refused() -> None:
    model = tiny_llama()
    for layer in model.model.layers:
        layer.mlp = torch.nn.Identity()
    with pytest.raises(DataError, match=r'no linear layer under a name with "mlp".*use method = "full"'):
        FeedForwardFineTuning({}).prepare(model)


@pytest.mark.parametrize(
    "prepare",
    [FeedForwardFineTuning({}).prepare, LoraFineTuning({"targets": "mlp"}).prepare],
)
@pytest.mark.parametrize("kind", ["mixtral", "qwen2_moe", "deepseek_v3", "granitemoeshared", "gpt_oss"])
def test_a_mixture_whose_experts_would_stay_is_refused(
    kind: str, prepare: Callable[[PreTrainedModel], PreTrainedModel]
) -> None:
    with pytest.raises(DataError, match=r"has feed-forward layers that are experts of a mixture, .*\.experts\); use"):
        prepare(tiny_mixture(kind))


def test_feed_forward_weights_that_are_no_linear_layers_are_refused() -> None:
    with pytest.raises(DataError, match=r"weights that are no linear layers \(rwkv.blocks.0.feed_forward\)"):
        FeedForwardFineTuning({}).prepare(tiny("rwkv", attention_hidden_size=48))


@pytest.mark.parametrize(
    ("kind", "options", "layers"),
    [
        ("opt", {"ffn_dim": 96, "word_embed_proj_dim": 48}, {"fc1", "fc2"}),
        ("mpt", {"d_model": 48, "n_heads": 4, "n_layers": 2}, {"up_proj", "down_proj"}),
        ("lfm2", LFM2, {"w1", "w2", "w3"}),
        ("falcon", {}, {"dense_h_to_4h", "dense_4h_to_h"}),
    ],
)
def test_feed_forward_layers_under_other_names_are_found(kind: str, options: dict[str, Any], layers: set[str]) -> None:
    model = FeedForwardFineTuning({}).prepare(tiny(kind, **options))
    assert {name.split(".")[-2] for name in trained_names(model)} == layers


@pytest.mark.parametrize(
    "method",
    [FeedForwardFineTuning({}), LoraFineTuning({}), LoraFineTuning({"targets": "mlp"}), TopLayersFineTuning(ONE_LAYER)],
)
def test_what_reads_images_is_not_trained(method: Method) -> None:
    names = trained_names(method.prepare(tiny_with_vision()))
    assert names
    assert not [name for name in names if "language_model" not in name]


# --- all of them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "top_layers"])
def test_an_unknown_option_is_refused(method: str) -> None:
    with pytest.raises(DataError, match=r"train\.options: xyzzy: is not a known field; known: .+"):
        BY_NAME[method]({"xyzzy": 1})


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lora", {"rnk": 8}, "rnk: is not a known field; did you mean 'rank'?"),
        ("lora", {"rank": 0}, "rank: Input should be greater than 0 (found '0')"),
        ("lora", {"rank": "8"}, "rank: Input should be a valid integer (found '8')"),
        ("lora", {"targets": "attention"}, "targets: Input should be 'all-linear' or 'mlp' (found 'attention')"),
        ("lora", {"dropout": 1.0}, "dropout: Input should be less than 1 (found '1.0')"),
        ("lora", {"alpha": float("inf")}, "alpha: Input should be a finite number (found 'inf')"),
        ("top_layers", {"num_layers": 0}, "num_layers: Input should be greater than 0 (found '0')"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as refused:
        BY_NAME[method](options)
    assert refused.value.lines == (f"train.options: {message}",)


@pytest.mark.parametrize(("method", "options"), [("lora", {"rank": 3}), ("top_layers", {"num_layers": 1})])
@pytest.mark.parametrize("make", MODELS)
def test_a_finished_model_is_an_ordinary_folder(
    make: Callable[[], PreTrainedModel],
    method: str,
    options: dict[str, Any],
    tmp_path: Path,
    examples: list[EncodedExample],
) -> None:
    finished = trained(make(), examples, method, **options).model
    folder = tmp_path / "model"
    finished.save_pretrained(folder)
    assert {path.name for path in folder.iterdir()} == {"config.json", "generation_config.json", "model.safetensors"}
    reloaded = AutoModelForCausalLM.from_pretrained(folder)
    assert type(reloaded) is type(finished)
    assert not changed(state(finished), state(reloaded))
    tokens = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        assert torch.equal(finished(tokens).logits, reloaded.eval()(tokens).logits)


def test_a_merged_model_passes_the_checks_of_a_checkpoint(tmp_path: Path, examples: list[EncodedExample]) -> None:
    finished = trained(tiny_llama(), examples, "lora", rank=3).model
    with writing(tmp_path / "model") as folder:
        checks, _ = save_and_check(finished, tiny_tokenizer(), folder, ["What is ZX-11?"])
    assert checks.reload_max_difference == 0.0
    assert checks.samples == {"float32": 200, "bfloat16": num_bfloat16_samples(torch.device("cpu"))}


@pytest.mark.parametrize("name", ["lora", "lora-mlp", "top"])
def test_a_shipped_recipe_differs_from_plain_fine_tuning_in_its_method_alone(name: str) -> None:
    recipe, plain = load_recipe(f"smollm2-135m-{name}"), load_recipe("smollm2-135m-full")
    method = {"method", "options", "learning_rate"}
    assert recipe.name == f"smollm2-135m-{name}"
    assert (recipe.model, recipe.knowledge, recipe.bench) == (plain.model, plain.knowledge, plain.bench)
    assert recipe.train.model_dump(exclude=method) == plain.train.model_dump(exclude=method)
    assert recipe.train.learning_rate == (1e-4 if name == "top" else 1e-3)
    assert BY_NAME[recipe.train.method](recipe.train.options) is not None


def test_every_method_is_installed_under_its_name() -> None:
    for name, method in BY_NAME.items():
        assert isinstance(load_method(name, {}), method)  # type: ignore[arg-type] # classes, seen as what they make


def test_what_generates_behind_peft_leaves_the_generation_config_as_it_was() -> None:
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    assert model.generation_config is not None
    model.generation_config.cache_implementation = "hybrid"  # which `generate` could not do here
    wrapped = load_method("lora", {}).prepare(model)
    generate_answers(wrapped, tokenizer, ["a b"], max_new_tokens=1, temperature=None, batch_size=1)
    kept = [config.cache_implementation for config in (wrapped.generation_config, model.generation_config) if config]
    assert kept == ["hybrid", "hybrid"]
