"""The lm-eval model that `kapoc bench` runs: HFLM with every shared prefix read once and every logit checked.

Requests are arranged as a prefix tree (`kapoc.engine`), so that a system prompt, a question and what several
options begin with are encoded once. What scoring an answer's options has shown of the greedy answer is not decoded
again. The scores and answers are those of HFLM.
"""

import logging
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs
from transformers import LogitsProcessorList, PreTrainedModel

from kapoc.chat import start_token, undated_template
from kapoc.counting import Count, Counting, bars, uncounted
from kapoc.engine.attention import use_tree_attention
from kapoc.engine.decoding import continue_prompts
from kapoc.engine.reading import BROKEN_LOGITS, CannotShareError, local_window, sharing
from kapoc.engine.scoring import Request, Score, score_requests
from kapoc.errors import ModelError
from kapoc.models import FiniteLogits, LoadedModel, context_of, stop_tokens, usable_generation
from kapoc.products import packed

MAX_SHARING_ERROR = 1e-3
_ROW_TOKENS = {"cpu": 4, "cuda": 32}
"""Tokens a forward pass for each row of the batch size: more does not make it faster."""
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
_GREEDY = {"attention_mask", "do_sample", "temperature"}
"""What `generate` may be asked for where the likeliest tokens are wanted and nothing else."""
_OF_ANSWERS = {"until", "max_gen_toks"}
"""What lm-eval says beside that of where an answer ends."""
_logger = logging.getLogger("kapoc")
_Tokens = list[int]
_Pair = tuple[tuple[str, str] | None, _Tokens, _Tokens]
"""A prompt and a continuation as texts (none for a part of a text) and as tokens."""


class SharedPrefixLM(HFLM):  # type: ignore[misc]
    """HFLM over a loaded model, exact to rounding, that reads each shared prefix once.

    Args:
        loaded: model and tokenizer.
        batch_size: answers that are written together; prompts are read with as many tokens as go with that.
        counting: is told how many prompts are answered, continuations scored and texts read.
        base: the model before training; `divergences` then tells how far the model has moved from it on whole texts.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        batch_size: int,
        counting: Counting = uncounted,
        base: PreTrainedModel | None = None,
    ) -> None:
        undated, direct = undated_template(loaded.tokenizer), {"enable_thinking": False}
        super().__init__(
            pretrained=loaded.model,
            tokenizer=loaded.tokenizer,
            batch_size=batch_size,
            softmax_dtype=torch.float32,
            max_length=context_of(loaded.model),
            chat_template_args=direct if undated is None else {**direct, "chat_template": undated},
        )
        use_tree_attention(loaded.model)
        self._window = local_window(loaded.model)
        self._counting = counting
        self._hides_bars = counting is not bars  # HFLM draws its own for what goes its way
        self._on_rows: Count = lambda _: None  # is told of the rows that HFLM has read or written
        self.divergences: dict[tuple[int, ...], float] = {}  # text, as tokens -> mean KL(base || model), nats per token
        self.ended: dict[str, bool] = {}  # prompt -> whether the model ended its answer, where that is known
        self._ended_behind: dict[tuple[int, ...], bool] = {}  # the same by the prompt's tokens
        self._chat_prompts: set[str] = set()
        self._known: dict[tuple[int, ...], _Tokens] = {}  # prompt -> what its greedy answer begins with
        self._capacity = _ROW_TOKENS[loaded.model.device.type] * batch_size
        self._stop_tokens = stop_tokens(loaded.model, loaded.tokenizer)
        self._shares = self._sharing_is_exact()
        self._decodes = self._shares and self._decoding_is_exact()  # what prompts begin with is shared in decoding, too
        if not self._decodes:
            _logger.warning("%s is decoded by transformers: answers take longer", loaded.identity.architecture)
            if not self._padding_is_exact():
                self.batch_size_per_gpu = 1
                _logger.warning(
                    "%s does not pass over padding: answers are written one by one", loaded.identity.architecture
                )
        if not self._shares:
            _logger.warning("%s takes no tree of continuations: prompts are not shared", loaded.identity.architecture)
        self._base = base if self._shares and self._reads_texts_behind_one_token() else None
        if self._base is not None:
            use_tree_attention(self._base)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The prompt of a chat; remembered, because what is asked so is often asked both freely and with options."""
        prompt = str(super().apply_chat_template(chat_history, add_generation_prompt))
        self._chat_prompts.add(prompt)
        return prompt

    def _sharing_is_exact(self) -> bool:
        """Whether continuations in one row score as they do apart: a model may ignore or refuse a 4-D mask."""
        prompt = "It was late, and in the window of the old house stood two lamps that"
        prompts = [self.tok_encode(f"{prompt}{rest}") for rest in ("", " nobody had lit")]
        ends = [self.tokenizer.encode(text, add_special_tokens=False) for text in (" were red", " were green")]
        pairs: list[_Pair] = [(("", ""), tokens, end) for tokens in prompts for end in ends]
        try:
            with sharing():
                shared = self._score(pairs, lambda _: None)
        except ModelError:
            return True  # broken logits are no matter of the mask: the measurement itself will say so
        except CannotShareError:
            return False
        apart = super()._loglikelihood_tokens(pairs, disable_tqdm=True)
        return all(abs(one.logprob - other[0]) < MAX_SHARING_ERROR for one, other in zip(shared, apart, strict=True))

    def _decoding_is_exact(self) -> bool:
        """Whether kapoc's own decoding writes what `generate` writes, also when rows of the batch end early.

        It cannot where the generation config asks for more than the likeliest token, or where the model remembers
        in another way than by keys and values.
        """
        config = self.model.generation_config
        if any(getattr(config, name, None) not in plain for name, plain in _PLAIN_GENERATION.items()):
            return False
        prompts = [self.tok_encode(text) for text in ("Two lamps are red", "Two lamps", "Two men came")]
        arguments: dict[str, Any] = {"max_new_tokens": 4, "batch_size": 3}
        try:
            with sharing():
                free = continue_prompts(self.model, prompts, stop_tokens=self._stop_tokens, **arguments)
                stops = [*self._stop_tokens, *(answer.tokens[1] for answer in free[:1] if len(answer.tokens) > 1)]
                found = continue_prompts(self.model, prompts, stop_tokens=stops, **arguments)
        except ModelError:
            return True  # broken logits are no matter of decoding: the measurement itself will say so
        except CannotShareError:
            return False
        return all(
            list(answer.tokens) == self._generated_alone(prompt, stops)
            for prompt, answer in zip(prompts, found, strict=True)
        )

    def _padding_is_exact(self) -> bool:
        """Whether `generate` writes behind a prompt that was padded what it writes behind the prompt alone."""
        short, long = (self.tok_encode(text) for text in ("One", "Nobody came to the house with the two red lamps"))
        width, pad = len(long), int(self.tokenizer.pad_token_id)
        ids = torch.tensor([[pad] * (width - len(short)) + short, long], device=self.device)
        mask = torch.tensor([[0] * (width - len(short)) + [1] * len(short), [1] * width], device=self.device)
        row = self._generate(ids, mask, 4, self._stop_tokens)[0, width:].tolist()
        return row[: _end_of(row, self._stop_tokens)] == self._generated_alone(short, self._stop_tokens)

    def _generated_alone(self, prompt: _Tokens, stops: list[int]) -> _Tokens:
        ids = torch.tensor([prompt], device=self.device)
        written = self._generate(ids, torch.ones_like(ids), 4, stops)[0, len(prompt) :].tolist()
        return [int(token) for token in written[: _end_of(written, stops)]]

    def _generate(self, ids: torch.Tensor, mask: torch.Tensor, max_new_tokens: int, stops: list[int]) -> torch.Tensor:
        with usable_generation(self.model):
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

    @contextmanager
    def _counting_rows(self, what: str, total: int) -> Iterator[None]:
        """Count the rows of what goes HFLM's way, unless it draws a bar; options of one token may share a row."""
        with (self._counting if self._hides_bars else uncounted)(what, total) as self._on_rows:
            yield
        self._on_rows = lambda _: None

    def _model_call(self, inps: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        """The logits of rows, as HFLM has them."""
        logits: torch.Tensor = super()._model_call(inps, *arguments, **named)
        self._on_rows(len(inps))
        return logits

    def _model_generate(
        self, context: torch.Tensor, max_length: int, stop: list[str], **generation_kwargs: Any
    ) -> torch.Tensor:
        """Greedy generation that ends at an end token; further stop strings are cut off afterwards by HFLM.

        Where a task asks for samples, beams or anything else beyond that they are HFLM's own.
        """
        if generation_kwargs.get("do_sample") or generation_kwargs.keys() - _GREEDY:
            sampled: torch.Tensor = super()._model_generate(context, max_length, stop, **generation_kwargs)
            self._on_rows(len(context))
            return sampled
        room, mask = max_length - context.shape[1], generation_kwargs["attention_mask"]
        written = self._generate(context, mask, room, self._stop_tokens)
        self._on_rows(len(context))
        for prompt, kept, row in zip(context, mask, written, strict=True):
            answer = row[context.shape[1] :].tolist()
            end = _end_of(answer, self._stop_tokens)
            self._ended_behind[tuple(prompt[kept.bool()].tolist())] = end < len(answer)
            # HFLM decodes the rest, and not every tokenizer knows an end token to be special
            row[context.shape[1] + end :] = self.tokenizer.pad_token_id
        return written

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:  # noqa: ARG002
        """Log-probability in nats of each continuation, and whether it is the greedy one."""
        with packed(self.model):
            return list(super().loglikelihood(requests, disable_tqdm=self._hides_bars))

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002
        """Log-probability in nats of each text, as HFLM has it.

        Where a tokenizer begins texts with a BOS token, lm-eval puts another before it, and that of the text counts.
        """
        read = [self.model] if self._base is None else [self.model, self._base]
        with packed(*read), self._counting("reading", len(requests)) as count:
            results = []
            for start in range(0, len(requests), self.batch_size):
                batch = requests[start : start + self.batch_size]
                results += super().loglikelihood_rolling(batch, disable_tqdm=True)
                count(len(batch))
        return results

    def _reads_texts_behind_one_token(self) -> bool:
        """Whether lm-eval has a text read as kapoc does, and not behind a BOS token of the tokenizer's as well."""
        plain = self.tokenizer.encode("One", add_special_tokens=False)
        first = start_token(self.tokenizer)
        return bool(self.prefix_token_id == first and self.tok_encode("One") == plain)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """The greedy answer to each prompt; requests with stop strings, sampling or other settings go HFLM's way."""
        answers: dict[int, str] = {}
        plain: dict[int, list[int]] = {}
        for index, request in enumerate(requests):
            asked = normalize_gen_kwargs(request.args[1], self.max_gen_toks)
            most = asked["max_gen_toks"]
            is_plain = not asked["until"] and not asked["do_sample"] and asked.keys() <= _GREEDY | _OF_ANSWERS
            if not self._decodes or not is_plain:
                continue
            if most >= self.max_length:
                raise ModelError(
                    f"max_gen_toks: an answer may have {most} tokens, and the model reads {self.max_length} with its "
                    "question; lower it"
                )
            if self._window is None or not self._is_beyond_a_window(self.tok_encode(request.args[0]), most):
                plain.setdefault(most, []).append(index)
        for max_new_tokens, chosen in plain.items():
            answers |= zip(chosen, self._greedy_answers([requests[i] for i in chosen], max_new_tokens), strict=True)
        rest = [index for index in range(len(requests)) if index not in answers]
        if rest:
            with self._counting_rows("answering", len(rest)):
                stopped = super().generate_until([requests[i] for i in rest], disable_tqdm=self._hides_bars)
            answers |= zip(rest, stopped, strict=True)
            self._note_ended([requests[i] for i in rest])
        return [answers[index] for index in range(len(requests))]

    def _note_ended(self, requests: list[Any]) -> None:
        """Whether the model ended the answers that transformers wrote, by the prompts' tokens."""
        for request in requests:
            text, asked = str(request.args[0]), normalize_gen_kwargs(request.args[1], self.max_gen_toks)
            room = self.max_length - asked["max_gen_toks"]
            ended = self._ended_behind.get(tuple(self.tok_encode(text, left_truncate_len=room)))
            if ended is not None and not asked["until"]:
                self.ended[text] = ended

    def _greedy_answers(self, requests: list[Any], max_new_tokens: int) -> list[str]:
        texts = [str(request.args[0]) for request in requests]
        room = self.max_length - max_new_tokens
        whole = [self.tok_encode(text) for text in texts]
        prompts = [tokens[-room:] for tokens in whole]
        if num_cut := sum(len(tokens) > room for tokens in whole):
            _logger.warning("%d of %d prompts lose their beginning: the model reads less", num_cut, len(texts))
        if not all(prompts):
            raise ModelError("a prompt is empty, so that nothing can follow it; write a question")
        with packed(self.model), self._counting("answering", len(texts)) as count:
            found = continue_prompts(
                self.model,
                prompts,
                max_new_tokens=max_new_tokens,
                stop_tokens=self._stop_tokens,
                batch_size=int(self.batch_size),
                known=[self._known.get(tuple(prompt), ()) for prompt in prompts],
                capacity=self._capacity,
                on_done=count,
            )
        self.ended |= {text: answer.ended for text, answer in zip(texts, found, strict=True)}
        return [str(self.tokenizer.decode(answer.tokens, skip_special_tokens=True)) for answer in found]

    def _loglikelihood_tokens(
        self, requests: list[_Pair], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        part_of_a_text = override_bs is not None  # lm-eval calls so from loglikelihood_rolling, which has a bar
        is_quiet = disable_tqdm or part_of_a_text
        _refuse_unscorable(requests, self.max_length)
        found: dict[int, tuple[float, bool]] = {}
        apart = [
            index
            for index, (_, prompt, rest) in enumerate(requests)
            if not self._shares or self._is_beyond_a_window(prompt, len(rest))
        ]
        if apart:
            with nullcontext() if part_of_a_text else self._counting_rows("scoring", len(apart)):
                pairs = super()._loglikelihood_tokens([requests[index] for index in apart], is_quiet, override_bs)
            if not all(math.isfinite(logprob) for logprob, _ in pairs):
                raise ModelError(BROKEN_LOGITS)
            found |= zip(apart, pairs, strict=True)
        shared = [index for index in range(len(requests)) if index not in found]
        if shared:
            counting = uncounted if part_of_a_text else self._counting
            with counting("scoring", len(shared)) as count:
                beside = self._base if part_of_a_text else None
                scores = self._score([requests[index] for index in shared], count, beside)
            for index, score in zip(shared, scores, strict=True):
                _, prompt, rest = requests[index]
                found[index] = (score.logprob, score.is_greedy(rest))
                if score.divergence is not None:
                    self.divergences[(*prompt, *rest)] = score.divergence
        return [found[index] for index in range(len(requests))]

    def _is_beyond_a_window(self, prompt: _Tokens, num_more: int) -> bool:
        """Whether a layer would not look at all of a text: then it is HFLM that reads it."""
        return self._window is not None and len(prompt) + num_more > self._window

    def _score(self, pairs: list[_Pair], on_scored: Any, reference: PreTrainedModel | None = None) -> list[Score]:
        """Score pairs; a prompt too long for the model loses its beginning, as in HFLM."""
        requests = []
        for texts, prompt, continuation in pairs:
            kept = (prompt + continuation)[-(self.max_length + 1) :][: -len(continuation)]
            is_chat = texts is not None and texts[0] in self._chat_prompts
            beyond = is_chat and len(kept) + len(continuation) <= self.max_length
            requests.append(Request(kept, continuation, beyond=beyond))
        scores = score_requests(self.model, requests, capacity=self._capacity, on_scored=on_scored, reference=reference)
        for (texts, _, _), request, score in zip(pairs, requests, scores, strict=True):
            if request.beyond and texts is not None:
                self._note_greedy(texts[0], request, score)
        return scores

    def _note_greedy(self, text: str, request: Request, score: Score) -> None:
        """Remember how the greedy answer to a prompt begins, as far as a scored continuation goes along with it.

        Of a prompt that ends in white space, as chats do, lm-eval scores that with the continuation; an answer begins
        behind it.
        """
        prompt = self.tok_encode(text)
        if [*request.prompt, *request.continuation][: len(prompt)] != prompt:
            return
        start = len(prompt) - len(request.prompt)
        places = range(start, len(request.continuation))
        unlike = (place for place in places if score.greedy[place] != request.continuation[place])
        answer = list(score.greedy[start : next(unlike, len(request.continuation)) + 1])
        key = tuple(prompt)
        if len(answer) > len(self._known.get(key, ())):
            self._known[key] = answer


def _end_of(tokens: Sequence[int], stops: Collection[int]) -> int:
    """The place of the token that ends an answer; behind its last one where none does."""
    return next((place for place, token in enumerate(tokens) if token in stops), len(tokens))


def _refuse_unscorable(requests: list[_Pair], max_length: int) -> None:
    """Refuse what has no token that a model could predict from another.

    Raises:
        ModelError: a prompt or a continuation has no token, or a continuation more than the model reads.
    """
    for texts, prompt, continuation in requests:
        said = f"'{(texts or ('', ''))[1][:60]}'"
        if not prompt or not continuation:
            raise ModelError(f"{said}: has nothing before it, or no word, so that it has no probability; write both")
        if len(continuation) > max_length:
            raise ModelError(
                f"{said}: has {len(continuation)} tokens, and the model reads {max_length}; shorten it, or split it"
            )
