"""The engine gives what stock HFLM gives, for two architectures, and never hides a broken logit."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ignore_masks, tiny_llama, tiny_tokenizer
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers.processors import TemplateProcessing
from transformers import (
    GPTNeoConfig,
    GPTNeoForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MptConfig,
    MptForCausalLM,
    PreTrainedModel,
)

from kapoc.chat import encode_example
from kapoc.engine.decoding import continue_prompts
from kapoc.engine.divergence import mean_divergences
from kapoc.errors import ModelError
from kapoc.measuring.lm_eval_model import SharedPrefixLM
from kapoc.models import LoadedModel, load_model, save_model
from kapoc.training.batches import pack, row_losses

QUESTIONS = ["What is AF-3001?", "Set the value", "How do I fix PF-1205 in PayFlow, please tell me the setting?"]
OPTIONS = [" a", " set stepup.ticket_ttl to 95 seconds", " 27 bytes in sessions.toml", " users are sent back"]


def _pairs() -> list[Instance]:
    pairs = [(question, option) for question in QUESTIONS for option in OPTIONS] + [("", "a text alone")]
    return [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0) for pair in pairs]


@pytest.fixture(params=["llama", "gpt2"])
def loaded(request: pytest.FixtureRequest, llama_folder: Path, gpt2_folder: Path) -> LoadedModel:
    return load_model(str(llama_folder if request.param == "llama" else gpt2_folder))


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_loglikelihoods_agree_with_hflm(loaded: LoadedModel, batch_size: int) -> None:
    ours = SharedPrefixLM(loaded, batch_size=batch_size).loglikelihood(_pairs())
    stock = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=4).loglikelihood(_pairs(), True)
    for (logprob, greedy), (expected, expected_greedy) in zip(ours, stock, strict=True):
        assert logprob == pytest.approx(expected, abs=1e-4)
        assert greedy is expected_greedy


def test_a_greedy_continuation_is_recognised(loaded: LoadedModel) -> None:
    lm = SharedPrefixLM(loaded, batch_size=4)
    prompt = torch.tensor([loaded.tokenizer.encode("What is AF-3001?")], device=loaded.model.device)
    greedy = [int(loaded.model(prompt).logits[0, -1].argmax())]
    request = (("", ""), prompt[0].tolist(), greedy)
    other = (("", ""), prompt[0].tolist(), [(greedy[0] + 1) % 700])
    assert [is_greedy for _, is_greedy in lm._loglikelihood_tokens([request, other], disable_tqdm=True)] == [
        True,
        False,
    ]


def test_generation_and_rolling_agree_with_hflm(loaded: LoadedModel) -> None:
    ours = SharedPrefixLM(loaded, batch_size=2)
    stock = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=1)
    arguments = {"until": [], "do_sample": False, "max_gen_toks": 12}
    generate = [Instance(request_type="generate_until", doc={}, arguments=(q, arguments), idx=0) for q in QUESTIONS]
    assert ours.generate_until(generate) == stock.generate_until(generate, disable_tqdm=True)
    roll = [Instance(request_type="loglikelihood_rolling", doc={}, arguments=(q * 40,), idx=0) for q in QUESTIONS]
    expected = stock.loglikelihood_rolling(roll, disable_tqdm=True)
    assert ours.loglikelihood_rolling(roll) == pytest.approx(expected, abs=1e-3)


def test_a_prompt_longer_than_the_model_reads_loses_its_beginning(llama_folder: Path) -> None:
    """As in HFLM, and the model is one whose answer changes with what it has read."""
    loaded = replace(load_model(str(llama_folder)), model=tiny_llama(spread=0.2))
    ours = SharedPrefixLM(loaded, batch_size=2)
    stock = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=1)
    long = "".join(f"lamp {number} " for number in range(600)) + QUESTIONS[0]
    assert len(ours.tok_encode(long)) > ours.max_length == 1024
    pairs = [Instance(request_type="loglikelihood", doc={}, arguments=(long, option), idx=0) for option in OPTIONS]
    for (logprob, greedy), (expected, expected_greedy) in zip(
        ours.loglikelihood(pairs), stock.loglikelihood(pairs, True), strict=True
    ):
        assert logprob == pytest.approx(expected, abs=1e-3)
        assert greedy is expected_greedy
    arguments = {"until": [], "do_sample": False, "max_gen_toks": 12}
    written = [Instance(request_type="generate_until", doc={}, arguments=(long, arguments), idx=0)]
    assert ours.generate_until(written) == stock.generate_until(written, disable_tqdm=True)


def test_what_scoring_showed_of_an_answer_is_not_decoded_again(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"until": [], "do_sample": False, "max_gen_toks": 12}
    lm, fresh = (SharedPrefixLM(loaded, batch_size=8) for _ in range(2))
    prompts = [lm.apply_chat_template([{"role": "user", "content": question}]) for question in QUESTIONS]
    tokens = [lm.tok_encode(prompt) for prompt in prompts]
    found = continue_prompts(loaded.model, tokens, max_new_tokens=12, stop_tokens=[2], batch_size=3)
    greedy = [list(answer.tokens) for answer in found]
    options = [(0, greedy[0]), (1, greedy[1][:4]), (1, [*greedy[1][:6], 5]), (2, [greedy[2][0] - 1, 7])]
    lm._loglikelihood_tokens([((prompts[i], ""), tokens[i], option) for i, option in options], disable_tqdm=True)
    read: list[int] = []
    forward = type(loaded.model).forward

    def counting(self: Any, **named: Any) -> Any:
        read.append(named["input_ids"].numel())
        return forward(self, **named)

    monkeypatch.setattr(type(loaded.model), "forward", counting)
    generate = [Instance(request_type="generate_until", doc={}, arguments=(p, arguments), idx=0) for p in prompts]
    answers = lm.generate_until(generate)
    known_whole = lm.generate_until(generate[:1])
    num_steps = len(read)
    lm.generate_until(generate[:1])
    assert len(read) == num_steps  # nothing is read for an answer that scoring has shown to its end
    assert fresh.generate_until(generate) == answers
    assert known_whole == answers[:1]
    assert lm._known[tuple(tokens[0])][:12] == greedy[0]
    assert [len(lm._known[tuple(prompt)]) for prompt in tokens[1:]] == [7, 1]


def test_a_taught_answer_that_is_scored_as_an_option_is_not_decoded(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As lm-eval asks: the white space at the end of a chat's prompt is scored with the option."""
    loaded = load_model(str(llama_folder))
    taught = "users are sent back to the password page"
    example = encode_example(loaded.tokenizer, QUESTIONS[0], taught)
    optimizer = torch.optim.Adam(loaded.model.parameters(), 3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        row_losses(loaded.model, pack([example])).answers.backward()
        optimizer.step()
    lm, fresh = (SharedPrefixLM(loaded, batch_size=4) for _ in range(2))
    prompt = lm.apply_chat_template([{"role": "user", "content": QUESTIONS[0]}])
    assert prompt != prompt.rstrip()
    pairs = [(prompt, taught), (prompt, "something else entirely")]
    lm.loglikelihood([Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0) for pair in pairs])
    arguments = {"until": [], "do_sample": False, "max_gen_toks": 30}
    asked = [Instance(request_type="generate_until", doc={}, arguments=(prompt, arguments), idx=0)]
    assert fresh.generate_until(asked) == [taught]

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the model was read")

    monkeypatch.setattr(type(loaded.model), "forward", refuse)
    assert lm.generate_until(asked) == [taught]
    assert lm.ended == {prompt: True}


def test_a_nan_weight_is_found_where_hflm_reads(llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_model(str(llama_folder))
    lm = SharedPrefixLM(loaded, batch_size=2)
    monkeypatch.setattr(lm, "_shares", False)
    assert all(math.isfinite(logprob) for logprob, _ in lm.loglikelihood(_pairs()))
    with torch.no_grad():
        loaded.model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="inf or nan"):
        lm.loglikelihood(_pairs())
    with pytest.raises(ModelError, match="inf or nan"):
        lm.loglikelihood_rolling([Instance(request_type="loglikelihood_rolling", doc={}, arguments=("One.",), idx=0)])


def test_what_has_no_probability_is_told_in_a_line(loaded: LoadedModel) -> None:
    lm = SharedPrefixLM(loaded, batch_size=2)
    long = "lamp " * 2000
    for context, option, complaint in (
        ("Is it?", long, r"'lamp lamp .*': has \d+ tokens, and the model reads 1024; shorten it"),
        ("Is it?", "", "has nothing before it, or no word"),
        (" ", "Yes", "has nothing before it, or no word"),
    ):
        with pytest.raises(ModelError, match=complaint):
            lm.loglikelihood([Instance(request_type="loglikelihood", doc={}, arguments=(context, option), idx=0)])
    arguments = {"until": [], "do_sample": False, "max_gen_toks": 4}
    with pytest.raises(ModelError, match="a prompt is empty"):
        lm.generate_until([Instance(request_type="generate_until", doc={}, arguments=("", arguments), idx=0)])


def test_a_nan_weight_is_found_in_scores_and_in_generation(llama_folder: Path) -> None:
    loaded = load_model(str(llama_folder))
    with torch.no_grad():
        loaded.model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    lm = SharedPrefixLM(loaded, batch_size=2)
    with pytest.raises(ModelError, match="inf or nan"):
        lm.loglikelihood(_pairs())
    arguments = {"until": [], "do_sample": False, "max_gen_toks": 4}
    with pytest.raises(ModelError, match="inf or nan"):
        lm.generate_until([Instance(request_type="generate_until", doc={}, arguments=("Hello", arguments), idx=0)])


def test_a_model_that_ignores_the_mask_is_scored_apart(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_model(str(llama_folder))
    expected = SharedPrefixLM(loaded, batch_size=4).loglikelihood(_pairs())
    ignore_masks(monkeypatch, loaded.model)
    blinded = SharedPrefixLM(loaded, batch_size=4)
    assert "prompts are not shared" in caplog.text
    for (logprob, _), (right, _) in zip(blinded.loglikelihood(_pairs()), expected, strict=True):
        assert logprob == pytest.approx(right, abs=1e-4)


def test_a_generation_config_that_asks_for_more_is_left_to_transformers(
    llama_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_model(str(llama_folder))
    loaded.model.generation_config.repetition_penalty = 1.7
    ours = SharedPrefixLM(loaded, batch_size=2)
    assert "is decoded by transformers" in caplog.text
    arguments = {"until": [], "do_sample": False, "max_gen_toks": 12}
    generate = [Instance(request_type="generate_until", doc={}, arguments=(q, arguments), idx=0) for q in QUESTIONS]
    stock = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=1)
    assert ours.generate_until(generate) == stock.generate_until(generate, disable_tqdm=True)
    assert ours.ended == dict.fromkeys(QUESTIONS, False)  # known of these answers, too
    generated: Any = loaded.model.generate
    tokens_of = {question: loaded.tokenizer(question, return_tensors="pt") for question in QUESTIONS}
    written = {question: generated(**tokens, max_new_tokens=12)[0] for question, tokens in tokens_of.items()}
    third = {question: int(tokens[-9]) for question, tokens in written.items()}
    loaded.model.generation_config.eos_token_id = [2, *third.values()]
    ending = SharedPrefixLM(loaded, batch_size=2)
    ending.generate_until(generate)
    assert ending.ended == dict.fromkeys(QUESTIONS, True)


def test_answers_do_not_depend_on_the_batch_where_a_model_reads_its_padding(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_model(str(llama_folder))
    loaded.model.generation_config.repetition_penalty = 1.7  # so that transformers decodes
    generate: Any = loaded.model.generate

    def blind(**arguments: Any) -> Any:
        return generate(**{**arguments, "attention_mask": torch.ones_like(arguments["attention_mask"])})

    monkeypatch.setattr(loaded.model, "generate", blind)
    arguments = {"until": [], "do_sample": False, "max_gen_toks": 12}
    asked = [Instance(request_type="generate_until", doc={}, arguments=(q, arguments), idx=0) for q in QUESTIONS]
    alone, together = (SharedPrefixLM(loaded, batch_size=size).generate_until(asked) for size in (1, 4))
    assert "does not pass over padding" in caplog.text
    assert together == alone


def _folder(model: PreTrainedModel, path: Path) -> str:
    save_model(model, tiny_tokenizer(), path)
    return str(path)


def _mistral(window: int = 24) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "head_dim": 12}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    tokens: dict[str, Any] = {"vocab_size": 700, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    return MistralForCausalLM(MistralConfig(**sizes, **heads, **tokens, sliding_window=window, initializer_range=0.2))


def _asked(prompt: str, **arguments: Any) -> Instance:
    return Instance(request_type="generate_until", doc={}, arguments=(prompt, arguments), idx=0)


def _gpt_neo() -> PreTrainedModel:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 48, "num_layers": 2, "num_heads": 4, "window_size": 24}
    tokens: dict[str, Any] = {"vocab_size": 700, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    return GPTNeoForCausalLM(
        GPTNeoConfig(**sizes, **tokens, attention_types=[[["global", "local"], 1]], initializer_range=0.2)
    )


def test_a_base_beside_changes_no_bit_of_what_is_read(loaded: LoadedModel) -> None:
    same, other = load_model(loaded.identity.name).model, load_model(loaded.identity.name).model
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(0.8)
    texts = [*QUESTIONS, f"{QUESTIONS[2]} " * 100]  # of which the last is read in parts
    asked = [Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=0) for text in texts]
    plain, beside_itself, beside = (SharedPrefixLM(loaded, batch_size=2, base=base) for base in (None, same, other))
    rows = [(plain.prefix_token_id, *plain.tok_encode(text)) for text in texts]
    assert len(rows[-1]) > plain.max_length > len(rows[-2])
    expected = plain.loglikelihood_rolling(asked)
    read: list[int] = []
    handle = loaded.model.register_forward_pre_hook(
        lambda _, __, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    assert plain.loglikelihood_rolling(asked) == expected
    alone = sum(read)
    assert beside.loglikelihood_rolling(asked) == expected
    assert sum(read) == 2 * alone
    handle.remove()
    assert beside_itself.loglikelihood_rolling(asked) == expected
    assert not plain.divergences
    assert {beside_itself.divergences[row] for row in rows[:-1]} == {0.0}
    found = [beside.divergences[row] for row in rows[:-1]]
    assert found == pytest.approx(mean_divergences(other, loaded.model, rows[:-1]), rel=1e-3)
    assert min(found) > 1e-4
    assert rows[-1] not in beside.divergences


def test_a_text_that_lm_eval_reads_behind_two_begin_tokens_is_read_by_itself(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    save_model(tiny_llama(), tokenizer, tmp_path / "beginning")
    loaded = load_model(str(tmp_path / "beginning"))
    plain = SharedPrefixLM(loaded, batch_size=2)
    lm = SharedPrefixLM(loaded, batch_size=2, base=loaded.model)
    asked = [Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=0) for text in QUESTIONS]
    assert lm.tok_encode("a")[0] == lm.prefix_token_id == 1
    assert lm.loglikelihood_rolling(asked) == pytest.approx(plain.loglikelihood_rolling(asked), abs=1e-5)
    assert lm.divergences == {}


@pytest.mark.parametrize("make", [_mistral, _gpt_neo])
def test_texts_beyond_the_window_of_a_local_layer_are_those_of_hflm(
    make: Callable[[], PreTrainedModel], tmp_path: Path
) -> None:
    loaded = load_model(_folder(make(), tmp_path / "local"))
    ours = SharedPrefixLM(loaded, batch_size=4)
    stock = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=1)
    long = [f"{'a lamp and a red door ' * number}{question}" for number in (0, 1, 4) for question in QUESTIONS]
    arguments = {"until": [], "do_sample": False, "max_gen_toks": 12}
    generate = [Instance(request_type="generate_until", doc={}, arguments=(q, arguments), idx=0) for q in long]
    assert ours.generate_until(generate) == stock.generate_until(generate, disable_tqdm=True)
    pairs = [(question, option) for question in long for option in OPTIONS]
    score = [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0) for pair in pairs]
    for (logprob, _), (expected, _) in zip(ours.loglikelihood(score), stock.loglikelihood(score, True), strict=True):
        assert logprob == pytest.approx(expected, abs=1e-3)


def test_a_text_beyond_the_window_does_not_send_the_others_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = SharedPrefixLM(load_model(_folder(_mistral(100), tmp_path / "local")), batch_size=4)
    scored: list[int] = []
    score = lm._score

    def counting(pairs: list[Any], *rest: Any) -> Any:
        scored.append(len(pairs))
        return score(pairs, *rest)

    monkeypatch.setattr(lm, "_score", counting)
    short, long = ("One lamp", " is red"), ("a lamp and a red door " * 40, " is red")
    pairs = [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0) for pair in (short, long, short)]
    found = lm.loglikelihood(pairs)
    assert scored in ([1], [2])  # what stands twice may be asked once
    assert found[0] == found[2] != found[1]


def test_samples_are_drawn_where_a_task_asks_for_them(loaded: LoadedModel) -> None:
    lm = SharedPrefixLM(loaded, batch_size=2)
    arguments = {"until": [], "do_sample": True, "temperature": 5.0, "max_gen_toks": 8}
    request = _asked(QUESTIONS[0], **arguments)
    texts = set()
    for seed in range(4):
        torch.manual_seed(seed)
        texts.add(lm.generate_until([request])[0])
    assert len(texts) > 1


@pytest.mark.parametrize("more", [{"num_beams": 3}, {"repetition_penalty": 1.7}, {"no_repeat_ngram_size": 1}])
@pytest.mark.parametrize("until", [[], ["\n\n\n"]])
def test_what_a_task_asks_beyond_the_likeliest_tokens_is_hflms(
    loaded: LoadedModel, more: dict[str, Any], until: list[str]
) -> None:
    lm = SharedPrefixLM(loaded, batch_size=2)
    asked = [_asked(QUESTIONS[0], until=until, max_gen_toks=12, **more)]
    theirs = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=2)
    assert lm.generate_until(asked) == theirs.generate_until(asked, disable_tqdm=True)


def test_an_answer_has_as_many_tokens_as_lm_eval_reads_of_any_name(loaded: LoadedModel) -> None:
    lm = SharedPrefixLM(loaded, batch_size=2)
    [few], [same] = (
        lm.generate_until([_asked(QUESTIONS[0], until=[], **{n: 3})]) for n in ("max_tokens", "max_gen_toks")
    )
    assert few == same


def test_a_model_that_looks_at_places_in_the_row_is_decoded_by_transformers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"d_model": 48, "n_heads": 4, "n_layers": 2, "max_seq_len": 512, "vocab_size": 700}
    mpt = MptForCausalLM(MptConfig(**sizes, initializer_range=0.2, eos_token_id=2, bos_token_id=1, pad_token_id=2))
    SharedPrefixLM(load_model(_folder(mpt, tmp_path / "mpt")), batch_size=2)
    assert "MptForCausalLM is decoded by transformers" in caplog.text


def test_an_answer_as_long_as_the_context_is_refused_and_one_of_no_length_is_hflms(loaded: LoadedModel) -> None:
    lm = SharedPrefixLM(loaded, batch_size=2)

    def answered(**arguments: Any) -> list[str]:
        return lm.generate_until([_asked(QUESTIONS[0], until=[], **arguments)])

    with pytest.raises(ModelError, match="max_gen_toks: an answer may have 1024 tokens, and the model reads 1024"):
        answered(max_gen_toks=1024)
    assert answered(max_new_tokens=3) == answered(max_gen_toks=3)
    assert answered() == answered(max_gen_toks=256)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("no memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")],
)
def test_no_memory_is_no_reason_to_go_another_way(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("kapoc.measuring.lm_eval_model.continue_prompts", full)
    with pytest.raises(type(error), match="memory"):
        SharedPrefixLM(loaded, batch_size=2)
