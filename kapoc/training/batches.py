"""Training examples as rows of a prefix tree, and the losses: of answers only, and of replayed text.

What the examples of a micro-batch begin with alike (a system prompt, a question) stands in its row once; a mask lets
every token see its own example's tokens only. Gradients are those of separate examples, because what they share is the
same computation. Replayed passages stand in the rows like examples. Logits are computed only where a token is predicted
that carries loss.

Rows and their logits are filled up to sizes that come again. Where each step has blocks of memory of other sizes than
the one before, free ones are cut up for smaller ones, and a process grows far beyond what it needs.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel

from kapoc.chat import EncodedExample
from kapoc.engine.divergence import Passage, divergence_and_surprise
from kapoc.engine.prefix_tree import plan_rows
from kapoc.engine.reading import CannotShareError, local_window, sharing, tree_mask
from kapoc.models import evaluating
from kapoc.training.losses import summed_negative_log_likelihood

MAX_PACKING_ERROR = 1e-3
"""Nats by which the loss of any answer token may differ between packed examples and separate ones."""
_TOKEN_SIZES, _LOGIT_SIZES = 16, 8
"""So many sizes a row, and its logits, can have between a power of two and the next."""


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Examples in one row.

    Attributes:
        input_ids: (1, tokens).
        position_ids: (1, tokens), each token's place in its example.
        attention_mask: (1, 1, tokens, tokens), additive, in float32; none for a single example, which is causal.
        loss_positions: (answer tokens,), the places whose logits predict them.
        targets: (answer tokens,), the answers and their end tokens, but for what is only read of them.
        written_positions: (written tokens,), the places whose logits predict what the base wrote in `passages`.
        sizes: answer tokens with loss of each example, in order.
        passages: replayed text, after the examples.
        num_tokens: of examples and passages, shared ones once; what `input_ids` has beyond them fills the row up.
        num_tokens_apart: of all examples and passages, before sharing.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    loss_positions: torch.Tensor
    targets: torch.Tensor
    written_positions: torch.Tensor
    sizes: tuple[int, ...]
    passages: tuple[Passage, ...]
    num_tokens: int
    num_tokens_apart: int

    @property
    def num_loss_tokens(self) -> int:
        """The answer tokens that carry loss."""
        return self.targets.shape[0]

    @property
    def num_written_tokens(self) -> int:
        """The tokens that the base wrote, which carry divergence."""
        return self.written_positions.shape[0]

    def to(self, device: torch.device) -> "PackedRow":
        """The same row on a device."""
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            position_ids=self.position_ids.to(device),
            attention_mask=None if self.attention_mask is None else self.attention_mask.to(device),
            loss_positions=self.loss_positions.to(device),
            targets=self.targets.to(device),
            written_positions=self.written_positions.to(device),
        )


@dataclass(frozen=True, slots=True)
class RowLosses:
    """Losses of one row, each summed over its tokens, in nats; scalars that gradients flow through.

    Attributes:
        answers: negative log-likelihood of the answer tokens.
        divergence: KL(base || model) of the tokens that the base wrote.
        surprise: negative log-likelihood of these.
    """

    answers: torch.Tensor
    divergence: torch.Tensor
    surprise: torch.Tensor


def pack(examples: Sequence[EncodedExample], passages: Sequence[Passage] = ()) -> PackedRow:
    """Lay examples and replayed passages into one row, what they begin with alike once.

    Raises:
        ValueError: an example has no prompt or no answer token, so that its loss would be empty.
    """
    if not all(example.prompt and example.trained for example in examples):
        raise ValueError("an example without a prompt or an answer token cannot be trained on")
    sequences = [(*example.prompt, *example.answer[:-1]) for example in examples]
    sequences += [passage.tokens[:-1] for passage in passages]
    (row,) = plan_rows(sequences, 0, sum(map(len, sequences)))
    num_tokens = len(row)
    if len(sequences) > 1:
        row.fill_up(_size_that_comes_again(num_tokens, _TOKEN_SIZES))
    starts = [len(example.prompt) for example in examples] + [passage.start for passage in passages]
    places = [row.paths[number][start - 1 :] for number, start in enumerate(starts)]
    trained = [[place[index] for index in example.trained] for example, place in zip(examples, places, strict=False)]
    return PackedRow(
        input_ids=torch.tensor([row.tokens]),
        position_ids=torch.tensor([row.depths]),
        attention_mask=None if len(sequences) == 1 else tree_mask(row, 0, torch.float32),
        loss_positions=_joined(trained),
        targets=_joined([[example.answer[index] for index in example.trained] for example in examples]),
        written_positions=_joined(places[len(examples) :]),
        sizes=tuple(len(example.trained) for example in examples),
        passages=tuple(passages),
        num_tokens=num_tokens,
        num_tokens_apart=sum(map(len, examples)) + sum(len(passage.tokens) for passage in passages),
    )


def _size_that_comes_again(number: int, sizes: int) -> int:
    """A number or a little more: one of so many sizes between a power of two and the next."""
    step = max(1, (1 << number.bit_length() >> 1) // sizes)
    return -(-number // step) * step


def _joined(parts: Sequence[Sequence[int]]) -> torch.Tensor:
    return torch.tensor([one for part in parts for one in part], dtype=torch.long)


def answer_logits(model: PreTrainedModel, row: PackedRow) -> torch.Tensor:
    """The logits (answer tokens, vocabulary) that predict each answer token, in float32."""
    return _logits(model, row, row.loss_positions)


def row_losses(model: PreTrainedModel, row: PackedRow) -> RowLosses:
    """All losses of a row, from one forward pass."""
    positions = torch.cat([row.loss_positions, row.written_positions])
    if row.attention_mask is not None:
        num_filled = _size_that_comes_again(len(positions), _LOGIT_SIZES) - len(positions)
        positions = torch.cat([positions, positions.new_zeros(num_filled)])
    loss, written = summed_negative_log_likelihood(_logits(model, row, positions), row.targets, row.num_written_tokens)
    divergence = surprise = written.new_zeros(1)
    if row.passages:
        divergence, surprise = divergence_and_surprise(written, row.passages)
    return RowLosses(loss, divergence.sum(), surprise.sum())


def _logits(model: PreTrainedModel, row: PackedRow, positions: torch.Tensor) -> torch.Tensor:
    output = model(
        input_ids=row.input_ids,
        position_ids=row.position_ids,
        attention_mask=row.attention_mask,
        logits_to_keep=positions,
        use_cache=False,
    )
    logits: torch.Tensor = output.logits.squeeze(0).float()  # squeezed, which autograd undoes without a copy
    return logits


def packing_is_exact(model: PreTrainedModel, examples: Sequence[EncodedExample]) -> bool:
    """Whether examples in one row have the loss that they have apart: a model may ignore or refuse a 4-D mask.

    The first two that differ are tried, and a third that begins as the one and ends as the other, since what looks at
    places in the row goes wrong behind a beginning that is read once. They are tried token by token, since errors of
    both signs would cancel in a sum; where all are alike nothing can be told, and it is not. Nor is it where one is
    longer than what a local layer looks back over.
    """
    window = local_window(model)
    if window is not None and any(len(example) > window for example in examples):
        return False
    tokens = [(*example.prompt, *example.answer) for example in examples[:1]]
    other = next((example for example in examples if (*example.prompt, *example.answer) not in tokens), None)
    if other is None:
        return False
    tried = [examples[0], other]
    if examples[0].answer != other.answer:
        tried.append(EncodedExample(examples[0].prompt, other.answer))
    try:
        with sharing(), evaluating(model), torch.no_grad():
            apart = torch.cat([_token_losses(model, pack([example]).to(model.device)) for example in tried])
            together = _token_losses(model, pack(tried).to(model.device))
    except CannotShareError:
        return False
    differences = (apart - together).abs()
    return not (differences > MAX_PACKING_ERROR).any()  # broken logits are no matter of the mask


def _token_losses(model: PreTrainedModel, row: PackedRow) -> torch.Tensor:
    """The negative log-likelihood (answer tokens,) of each answer token, in nats."""
    return torch.nn.functional.cross_entropy(answer_logits(model, row), row.targets, reduction="none")


def epoch_batches(
    examples: Sequence[EncodedExample],
    batch_size: int,
    micro_batch_size: int,
    order: random.Random,
    first: int = 0,
    passages: Iterator[Sequence[Passage]] | None = None,
) -> Iterator[list[PackedRow]]:
    """One pass in random order: for each optimizer step its micro-batches, from step `first` (from 0) of the pass.

    Contrast examples stand in the row of their example and are not counted by the batch sizes. The passages of a step
    stand in its last row, which is the shortest. Where examples have rows of their own, these have them, too.
    """
    shuffled = order.sample(list(examples), k=len(examples))
    for start in range(first * batch_size, len(shuffled), batch_size):
        step = shuffled[start : start + batch_size]
        rows = [_with_contrasts(step[i : i + micro_batch_size]) for i in range(0, len(step), micro_batch_size)]
        replayed = next(passages) if passages else ()
        if micro_batch_size == 1:
            alone = [pack([example]) for row in rows for example in row]
            yield [*alone, *(pack([], [passage]) for passage in replayed)]
        else:
            yield [*map(pack, rows[:-1]), pack(rows[-1], replayed)]


def _with_contrasts(examples: Sequence[EncodedExample]) -> list[EncodedExample]:
    """Examples, and behind them their contrast examples."""
    return [*examples, *(one for example in examples for one in example.contrasts)]
