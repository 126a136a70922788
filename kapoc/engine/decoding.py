"""Answers in a batch that rows leave when they are finished and that waiting prompts then enter.

All rows of a batch end at one place of a buffer of keys and values, so that a step writes one column and a newcomer is
laid so that it ends there, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from kapoc.engine.prefix_tree import plan_rows, prefix_length
from kapoc.engine.reading import BROKEN_LOGITS, Memory, read_prefix, read_row
from kapoc.errors import ModelError

_LEAVING_SHARE = 8
"""Rows enter, or are given up, once one in so many is free: both have a cost of their own."""
_SPARE_COLUMNS = 32
"""Columns of the buffer beyond the longest answer: after so many steps it is moved to its beginning."""


Choose = Callable[[torch.Tensor], list[int]]
"""Logits (rows, vocabulary) in float32 -> the token that follows in each row; refuses what is not finite."""
OnLogits = Callable[[Sequence[int], torch.Tensor], object]
"""Is told the numbers of some prompts and the logits (prompts, vocabulary) that their next tokens were chosen from."""


def greedy(logits: torch.Tensor) -> list[int]:
    """The likeliest token of each row."""
    values, tokens = logits.max(-1)
    _refuse_broken(values)
    return [int(token) for token in tokens]


def sampled(generator: torch.Generator, *, top_k: int) -> Choose:
    """Tokens drawn at temperature 1 from the `top_k` likeliest of each row."""

    def choose(logits: torch.Tensor) -> list[int]:
        values, tokens = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
        _refuse_broken(values[:, 0])
        drawn = torch.multinomial(values.softmax(-1).cpu(), 1, generator=generator).to(tokens.device)
        return [int(token) for token in tokens.gather(-1, drawn)[:, 0]]

    return choose


def _refuse_broken(highest: torch.Tensor) -> None:
    """Stop where the highest logit of a row is inf, or any of its logits nan."""
    if not torch.isfinite(highest).all():
        raise ModelError(BROKEN_LOGITS)


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a model wrote behind a prompt.

    Attributes:
        tokens: without the end token.
        end: the token with which the model ended it; none where it was cut off.
    """

    tokens: tuple[int, ...]
    end: int | None

    @property
    def ended(self) -> bool:
        """Whether the model ended it."""
        return self.end is not None


@dataclass(slots=True)
class _Answer:
    """A prompt on its way: what was written so far."""

    number: int
    prompt: Sequence[int]
    written: list[int]
    end: int | None = None
    is_done: bool = False

    @property
    def read(self) -> list[int]:
        """What is to be read before the next token is known."""
        return [*self.prompt, *self.written]


def continue_prompts(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_tokens: Sequence[int],
    batch_size: int,
    known: Sequence[Sequence[int]] = (),
    choose: Choose = greedy,
    capacity: int = 512,
    on_done: Callable[[int], object] = lambda _: None,
    on_logits: OnLogits | None = None,
) -> list[Continuation]:
    """Continue each prompt token by token until the model ends it.

    Args:
        model: a causal model that takes a 4-D attention mask.
        prompts: token ids, at least one each.
        max_new_tokens: where a continuation is cut off; at least one.
        stop_tokens: ids that end one.
        batch_size: rows of the batch.
        known: for each prompt what is known of its beginning, end token included; not written again.
        choose: which token follows; the likeliest if nothing is said.
        capacity: tokens of prompts a forward pass.
        on_done: is told how many prompts were finished.
        on_logits: is told what every token was chosen from.

    Returns:
        One continuation a prompt, in the order of the prompts.

    Raises:
        ModelError: a logit is inf or nan.
    """
    stops = frozenset(stop_tokens)

    def take(answer: _Answer, token: int) -> None:
        """Write the next token of an answer, or end it."""
        if token in stops:
            answer.end = token
        else:
            answer.written.append(token)
        answer.is_done = answer.end is not None or len(answer.written) == max_new_tokens
        if answer.is_done:
            on_done(1)

    answers = [_Answer(number, prompt, []) for number, prompt in enumerate(prompts)]
    for answer, tokens in zip(answers, known, strict=False):
        for token in tokens:
            if not answer.is_done:
                take(answer, token)
    waiting = sorted((answer for answer in answers if not answer.is_done), key=lambda answer: len(answer.read))
    if waiting:
        sizes = {"max_new_tokens": max_new_tokens, "batch_size": batch_size, "capacity": capacity}
        _Batch(model, waiting, take, choose, on_logits, **sizes).run()
    return [Continuation(tuple(answer.written), answer.end) for answer in answers]


@dataclass(slots=True)
class _Window:
    """The columns of the buffers that are in use: from `first` up to `end`, where the next one is written."""

    first: int = 0
    end: int = 0
    num_rows: int = 0


class _BufferLayer(DynamicLayer):
    """Keys and values of one layer in a buffer (rows, heads, columns, width) that does not grow."""

    def __init__(self, window: _Window, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.window, self.buffers, self.is_initialized = window, (keys, values), True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one column of all rows, and give back all columns in use."""
        first, end, num_rows = self.window.first, self.window.end, self.window.num_rows
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:num_rows, :, end : end + 1] = states
        keys, values = (buffer[:num_rows, :, first : end + 1] for buffer in self.buffers)
        return keys, values

    def get_seq_length(self) -> int:
        """Columns in use."""
        return self.window.end - self.window.first


class _Batch:
    """The rows that are being written, and the prompts that wait, the longest last.

    Prompts enter in the order of their length, so that a newcomer is never longer than what is in the batch already.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        waiting: list[_Answer],
        take: Callable[[_Answer, int], None],
        choose: Choose,
        on_logits: OnLogits | None,
        *,
        max_new_tokens: int,
        batch_size: int,
        capacity: int,
    ) -> None:
        self._model, self._waiting, self._capacity = model, waiting, capacity
        self._take, self._choose, self._on_logits = take, choose, on_logits
        self._max_rows = min(batch_size, len(waiting))
        self._num_columns = len(waiting[-1].read) + max_new_tokens + _SPARE_COLUMNS
        sequences = [answer.read for answer in waiting]
        self._prefix_length = prefix_length(sequences)
        self._prefix = read_prefix(model, sequences[0][: self._prefix_length])
        self._rows: list[_Answer] = []
        self._starts: list[int] = []  # the column in which each row begins
        self._window = _Window()
        self._layers: list[_BufferLayer] = []

    def run(self) -> None:
        """Write until nothing waits and every row is done."""
        while True:
            self._make_room()
            if not self._rows:
                return
            self._step()

    def _make_room(self) -> None:
        """Let prompts in while enough rows are free; once none waits, give up the rows that are done."""
        while self._waiting:
            free = [row for row, answer in enumerate(self._rows) if answer.is_done]
            free += range(len(self._rows), self._max_rows)
            if len(free) * _LEAVING_SHARE < self._max_rows:
                return
            self._admit([self._waiting.pop() for _ in free[: len(self._waiting)]], free)
        going = [row for row, answer in enumerate(self._rows) if not answer.is_done]
        if (len(self._rows) - len(going)) * _LEAVING_SHARE >= len(self._rows):
            self._keep(going)

    def _admit(self, newcomers: Sequence[_Answer], free: Sequence[int]) -> None:
        """Read prompts; those that are not done with their first token get a row."""
        if all(answer.is_done for answer in self._rows):
            self._window.end = max(len(answer.read) for answer in newcomers)
        sequences, places = [answer.read for answer in newcomers], iter(free)
        for row in plan_rows(sequences, self._prefix_length, self._capacity):
            wanted = sorted({path[-1] for path in row.paths.values()})
            reading = read_row(self._model, row, self._prefix, wanted, keep=True)
            logits = reading.logits[[wanted.index(path[-1]) for path in row.paths.values()]]
            self._write([newcomers[index] for index in row.paths], logits)
            for index, path in row.paths.items():
                if not newcomers[index].is_done:
                    self._enter(newcomers[index], next(places), path, reading.memory)

    def _write(self, answers: Sequence[_Answer], logits: torch.Tensor) -> None:
        """Choose the next token of each answer that is not done."""
        tokens = self._choose(logits)
        going = [row for row, answer in enumerate(answers) if not answer.is_done]
        if self._on_logits is not None:
            self._on_logits([answers[row].number for row in going], logits[going])
        for row in going:
            self._take(answers[row], tokens[row])

    def _enter(self, answer: _Answer, place: int, path: Sequence[int], memory: Memory) -> None:
        """Lay what was read of a prompt into a row, so that it ends where all rows end."""
        shared = self._prefix_length
        columns = torch.tensor([*range(shared), *(shared + node for node in path)], device=self._model.device)
        start = self._window.end - len(columns)
        if not self._layers:
            self._layers = [_BufferLayer(self._window, *self._buffers(kept)) for kept in memory]
        for layer, (keys, values) in zip(self._layers, memory, strict=True):
            for buffer, kept in zip(layer.buffers, (keys, values), strict=True):
                buffer[place, :, start : self._window.end] = kept[0].index_select(1, columns)
        if place == len(self._rows):
            self._rows.append(answer)
            self._starts.append(start)
        else:
            self._rows[place], self._starts[place] = answer, start

    def _buffers(self, kept: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = (
            part.new_zeros(self._max_rows, part.shape[1], self._num_columns, part.shape[3]) for part in kept
        )
        return keys, values

    def _keep(self, going: Sequence[int]) -> None:
        """Give up all rows but these."""
        index = torch.tensor(list(going), dtype=torch.long, device=self._model.device)
        used = slice(self._window.first, self._window.end)
        for layer in self._layers:
            for buffer in layer.buffers:
                buffer[: len(going), :, used] = buffer[:, :, used][index]
        self._rows = [self._rows[row] for row in going]
        self._starts = [self._starts[row] for row in going]

    def _step(self) -> None:
        """Read the last token of every row and write the next one."""
        starts = [start for start, answer in zip(self._starts, self._rows, strict=True) if not answer.is_done]
        self._window.first, self._window.num_rows = min(starts), len(self._rows)
        if self._window.end == self._num_columns:
            self._move_to_the_beginning()
        first, end, device = self._window.first, self._window.end, self._model.device
        begins = torch.tensor(self._starts, device=device).clamp(first, end)
        hidden = torch.arange(first, end + 1, device=device) < begins[:, None]
        mask = torch.zeros(hidden.shape, dtype=self._model.dtype, device=device)
        mask.masked_fill_(hidden, torch.finfo(self._model.dtype).min)
        with torch.no_grad():
            logits = self._model(
                input_ids=torch.tensor([[answer.written[-1]] for answer in self._rows], device=device),
                position_ids=(end - begins)[:, None],
                attention_mask=mask[:, None, None],
                past_key_values=Cache(layers=list(self._layers)),
                use_cache=True,
            ).logits[:, -1]
        self._window.end += 1
        self._write(self._rows, logits.float())

    def _move_to_the_beginning(self) -> None:
        """Free the columns that no row uses any more."""
        first, end = self._window.first, self._window.end
        for layer in self._layers:
            for buffer in layer.buffers:
                buffer[:, :, : end - first] = buffer[:, :, first:end].clone()
        self._starts = [max(start - first, 0) for start in self._starts]
        self._window.first, self._window.end = 0, end - first
