"""The lm-eval model that `kapoc bench` runs: HFLM, with shared prompts computed once and every logit checked.

Log-likelihood requests that continue the same prompt (the options of one question) share one row: the prompt
once, then every continuation behind it, each of which attends to the prompt and to itself only, with positions
that go on from the prompt's end. The scores are those of separate rows.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from tqdm import tqdm
from transformers import LogitsProcessorList, PreTrainedModel

from kapoc.decoding import continue_greedily
from kapoc.errors import ModelError
from kapoc.models import FiniteLogits, LoadedModel, stop_tokens

MAX_BATCH_TOKENS = 8192
MAX_SHARING_ERROR = 1e-3
_PLAIN_GENERATION: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "bad_words_ids": (None,),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "sequence_bias": (None,),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "exponential_decay_length_penalty": (None,),
    "num_beams": (None, 1),
}
"""What a generation config may say for greedy answers to be the likeliest tokens and nothing else."""
_logger = logging.getLogger("kapoc")
_Tokens = list[int]
_Request = tuple[tuple[str, str], _Tokens, _Tokens]


@dataclass(frozen=True, slots=True)
class _Row:
    """A prompt with all its continuations: positions in the request list, and their tokens."""

    prompt: _Tokens
    requests: list[int]
    continuations: list[_Tokens]

    def __len__(self) -> int:
        return len(self.prompt) + sum(len(c) - 1 for c in self.continuations)


class SharedPrefixLM(HFLM):  # type: ignore[misc]
    """HFLM over a loaded model, exact to rounding, that encodes each shared prompt once.

    Args:
        loaded: model and tokenizer.
        batch_size: rows a forward pass; requests and generated answers alike.
        show_progress: whether to draw progress bars on standard error.
    """

    def __init__(self, loaded: LoadedModel, *, batch_size: int, show_progress: bool) -> None:
        super().__init__(
            pretrained=loaded.model,
            tokenizer=loaded.tokenizer,
            batch_size=batch_size,
            softmax_dtype=torch.float32,
        )
        self._show_progress = show_progress
        self.ended: dict[str, bool] = {}  # prompt -> whether the model ended its answer, where that is known
        self._stop_tokens = stop_tokens(loaded.model, loaded.tokenizer)
        self._decodes = self._decoding_is_exact()
        if not self._decodes:
            _logger.warning("%s is decoded by transformers: answers take longer", loaded.identity.architecture)
        self._shares = self._sharing_is_exact()
        if not self._shares:
            _logger.warning("%s takes no tree of continuations: prompts are not shared", loaded.identity.architecture)

    def _sharing_is_exact(self) -> bool:
        """Whether two continuations in one row score as they do apart: a model may ignore or refuse a 4-D mask."""
        prompt, first, second = ([*self.tokenizer.encode(text)] for text in ("Two lamps", " are red", " were green"))
        requests: list[_Request] = [(("", ""), prompt, tokens) for tokens in (first, second)]
        try:
            shared = self._score_shared(requests, batch_size=1, disable_tqdm=True)
        except ModelError:
            return True  # broken logits are no matter of the mask: the measurement itself will say so
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            return False
        apart = super()._loglikelihood_tokens(requests, disable_tqdm=True)
        return all(abs(one[0] - other[0]) < MAX_SHARING_ERROR for one, other in zip(shared, apart, strict=True))

    def _decoding_is_exact(self) -> bool:
        """Whether kapoc's own decoding writes what `generate` writes, also when rows of the batch end early.

        It cannot where the generation config asks for more than the likeliest token, or where the model remembers
        in another way than by keys and values.
        """
        config = self.model.generation_config
        if any(getattr(config, name, None) not in plain for name, plain in _PLAIN_GENERATION.items()):
            return False
        prompts = [self.tok_encode(text) for text in ("Two lamps are red", "One", "Nobody came")]
        arguments: dict[str, Any] = {"max_new_tokens": 4, "batch_size": 3}
        try:
            free = continue_greedily(self.model, prompts, stop_tokens=self._stop_tokens, **arguments)
            stops = [*self._stop_tokens, *(answer.tokens[1] for answer in free[:1] if len(answer.tokens) > 1)]
            found = continue_greedily(self.model, prompts, stop_tokens=stops, **arguments)
        except ModelError:
            return True  # broken logits are no matter of decoding: the measurement itself will say so
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            return False
        return all(
            list(answer.tokens) == self._generated_alone(prompt, stops)
            for prompt, answer in zip(prompts, found, strict=True)
        )

    def _generated_alone(self, prompt: _Tokens, stops: list[int]) -> _Tokens:
        ids = torch.tensor([prompt], device=self.device)
        written = self._generate(ids, torch.ones_like(ids), 4, stops)[0, len(prompt) :].tolist()
        end = next((place for place, token in enumerate(written) if token in stops), len(written))
        return [int(token) for token in written[:end]]

    def _generate(self, ids: torch.Tensor, mask: torch.Tensor, max_new_tokens: int, stops: list[int]) -> torch.Tensor:
        output: torch.Tensor = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=stops,
            pad_token_id=self.tokenizer.pad_token_id,
            logits_processor=LogitsProcessorList([FiniteLogits()]),
        )
        return output

    def _model_generate(
        self, context: torch.Tensor, max_length: int, stop: list[str], **generation_kwargs: Any
    ) -> torch.Tensor:
        """Greedy generation that ends at an end token; further stop strings are cut off afterwards by HFLM."""
        del stop
        room = max_length - context.shape[1]
        return self._generate(context, generation_kwargs["attention_mask"], room, self._stop_tokens)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:  # noqa: ARG002
        """Log-probability in nats of each continuation, and whether it is the greedy one."""
        return list(super().loglikelihood(requests, disable_tqdm=not self._show_progress))

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002
        """Log-probability in nats of each text."""
        with tqdm(total=len(requests), desc="reading", disable=not self._show_progress) as bar:
            results = []
            for start in range(0, len(requests), self.batch_size):
                batch = requests[start : start + self.batch_size]
                results += super().loglikelihood_rolling(batch, disable_tqdm=True)
                bar.update(len(batch))
        return results

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """The greedy answer to each prompt; requests with stop strings or sampling go the way of HFLM."""
        answers: dict[int, str] = {}
        plain: dict[int, list[int]] = {}
        for index, request in enumerate(requests):
            if not self._decodes or request.args[1].get("until") or request.args[1].get("do_sample"):
                continue
            plain.setdefault(int(request.args[1]["max_gen_toks"]), []).append(index)
        for max_new_tokens, chosen in plain.items():
            answers |= zip(chosen, self._greedy_answers([requests[i] for i in chosen], max_new_tokens), strict=True)
        rest = [index for index in range(len(requests)) if index not in answers]
        if rest:
            stopped = super().generate_until([requests[i] for i in rest], disable_tqdm=not self._show_progress)
            answers |= zip(rest, stopped, strict=True)
        return [answers[index] for index in range(len(requests))]

    def _greedy_answers(self, requests: list[Any], max_new_tokens: int) -> list[str]:
        texts = [str(request.args[0]) for request in requests]
        room = self.max_length - max_new_tokens
        prompts = [self.tok_encode(text, left_truncate_len=room) for text in texts]
        with tqdm(total=len(texts), desc="answering", disable=not self._show_progress) as bar:
            found = continue_greedily(
                self.model,
                prompts,
                max_new_tokens=max_new_tokens,
                stop_tokens=self._stop_tokens,
                batch_size=int(self.batch_size),
                on_batch=bar.update,
            )
        self.ended |= {text: answer.ended for text, answer in zip(texts, found, strict=True)}
        return [str(self.tokenizer.decode(answer.tokens, skip_special_tokens=True)) for answer in found]

    def _loglikelihood_tokens(
        self, requests: list[_Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        part_of_a_text = override_bs is not None  # lm-eval calls so from loglikelihood_rolling, which has a bar
        size = int(override_bs or self.batch_size)
        if not self._shares:
            return list(super()._loglikelihood_tokens(requests, disable_tqdm or part_of_a_text, size))
        return self._score_shared(requests, size, disable_tqdm or part_of_a_text)

    def _score_shared(self, requests: list[_Request], batch_size: int, disable_tqdm: bool) -> list[tuple[float, bool]]:
        rows = sorted(_rows(requests, self.max_length), key=len, reverse=True)
        results: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        with tqdm(total=len(requests), desc="scoring", disable=disable_tqdm) as bar:
            for batch in _batches(rows, batch_size):
                for row, scores in zip(batch, score_rows(self.model, batch), strict=True):
                    for index, score in zip(row.requests, scores, strict=True):
                        results[index] = score
                    bar.update(len(row.requests))
        return results


def _rows(requests: Sequence[_Request], max_length: int) -> list[_Row]:
    """Group requests by prompt; a prompt too long for the model loses its beginning, as in HFLM.

    A prompt that is no longer than its continuations gains little by being shared, so a row takes no more of
    them than eight times the prompt's length.
    """
    done: list[_Row] = []
    rows: dict[tuple[int, ...], _Row] = {}
    for index, (_, prompt, continuation) in enumerate(requests):
        kept = tuple((prompt + continuation)[-(max_length + 1) :][: -len(continuation)])
        row = rows.get(kept)
        if row is None or len(row) + len(continuation) > 8 * len(kept):
            row = rows[kept] = _Row(list(kept), [], [])
            done.append(row)
        row.requests.append(index)
        row.continuations.append(continuation)
    return done


def _batches(rows: Sequence[_Row], batch_size: int) -> Iterator[Sequence[_Row]]:
    """Rows, longest first, in batches of so many rows but no more than `MAX_BATCH_TOKENS` with their padding."""
    start = 0
    while start < len(rows):
        size = max(1, min(batch_size, MAX_BATCH_TOKENS // len(rows[start])))
        yield rows[start : start + size]
        start += size


def score_rows(model: PreTrainedModel, rows: Sequence[_Row]) -> list[list[tuple[float, bool]]]:
    """Score a batch of rows in one forward pass.

    Args:
        model: a causal model that takes a 4-D attention mask.
        rows: prompts with their continuations.

    Returns:
        For each row and continuation: the log-probability in nats, and whether every token is the greedy one.

    Raises:
        ModelError: a logit is inf or nan.
    """
    width = max(len(row) for row in rows)
    device = model.device
    inputs = torch.zeros(len(rows), width, dtype=torch.long)
    positions = torch.zeros(len(rows), width, dtype=torch.long)
    visible = torch.eye(width, dtype=torch.bool).repeat(len(rows), 1, 1)
    for number, row in enumerate(rows):
        _fill(row, inputs[number], positions[number], visible[number])
    mask = torch.zeros(visible.shape, dtype=model.dtype).masked_fill(~visible, torch.finfo(model.dtype).min)
    spans = [[(number, places, tokens) for places, tokens in _spans(row)] for number, row in enumerate(rows)]
    wanted = torch.tensor([n * width + place for row in spans for n, places, _ in row for place in places])
    with torch.no_grad(), _only(model, wanted.to(device)):
        logits = model(
            input_ids=inputs.to(device),
            position_ids=positions.to(device),
            attention_mask=mask.unsqueeze(1).to(device),
            use_cache=False,
        ).logits[0]
    chosen = iter(logits.split([len(places) for row in spans for _, places, _ in row]))
    return [[_score(next(chosen), tokens) for _, _, tokens in row] for row in spans]


@contextmanager
def _only(model: PreTrainedModel, wanted: torch.Tensor) -> Iterator[None]:
    """Let the output layer see only the wanted places of the flattened batch, as (1, places, width)."""

    def gather(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (inputs[0].flatten(0, 1)[wanted].unsqueeze(0),)

    handle = model.get_output_embeddings().register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def _fill(row: _Row, tokens: torch.Tensor, positions: torch.Tensor, visible: torch.Tensor) -> None:
    """Lay out one row: the prompt, then each continuation without its last token (which predicts nothing)."""
    end = len(row.prompt)
    tokens[:end] = torch.tensor(row.prompt)
    positions[:end] = torch.arange(end)
    visible[:end, :end] = torch.ones(end, end, dtype=torch.bool).tril()
    start = end
    for continuation in row.continuations:
        size = len(continuation) - 1
        stop = start + size
        tokens[start:stop] = torch.tensor(continuation[:-1], dtype=torch.long)
        positions[start:stop] = torch.arange(end, end + size)
        visible[start:stop, :end] = True
        visible[start:stop, start:stop] = torch.ones(size, size, dtype=torch.bool).tril()
        start = stop


def _spans(row: _Row) -> Iterable[tuple[list[int], _Tokens]]:
    """For each continuation: the places whose logits predict its tokens, and the tokens."""
    start = len(row.prompt)
    for continuation in row.continuations:
        size = len(continuation) - 1
        yield [len(row.prompt) - 1, *range(start, start + size)], continuation
        start += size


def _score(logits: torch.Tensor, tokens: _Tokens) -> tuple[float, bool]:
    """Log-probability of a continuation, and whether it is the greedy one, from (tokens, vocabulary) logits."""
    logits = logits.float()
    if not torch.isfinite(logits).all():
        raise ModelError("the model's logits are inf or nan; the weights are broken, train it again")
    targets = torch.tensor(tokens, device=logits.device)
    logprobs = logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return float(logprobs.sum()), bool((logits.argmax(-1) == targets).all())
