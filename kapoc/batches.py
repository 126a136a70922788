"""Training examples in rows without padding, and the answer-only loss.

The examples of a micro-batch stand one behind the other in a single row. Positions restart at each example,
from which transformers builds a block-diagonal causal mask, so that none sees another. Logits are computed
only where a token of an answer is predicted.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from kapoc.chat import EncodedExample


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Examples in one row.

    Attributes:
        input_ids: (1, tokens).
        position_ids: (1, tokens); 0 at the first token of every example.
        loss_positions: (answer tokens,), the places whose logits predict them.
        targets: (answer tokens,), the answers and their end tokens.
        sizes: answer tokens of each example, in order.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    loss_positions: torch.Tensor
    targets: torch.Tensor
    sizes: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        """All tokens of the row."""
        return self.input_ids.shape[1]

    @property
    def num_loss_tokens(self) -> int:
        """The tokens that carry loss."""
        return self.targets.shape[0]

    def to(self, device: torch.device) -> "PackedRow":
        """The same row on a device."""
        return PackedRow(
            input_ids=self.input_ids.to(device),
            position_ids=self.position_ids.to(device),
            loss_positions=self.loss_positions.to(device),
            targets=self.targets.to(device),
            sizes=self.sizes,
        )


def pack(examples: Sequence[EncodedExample]) -> PackedRow:
    """Lay examples one behind the other.

    Raises:
        ValueError: an example has no prompt or no answer token, so that its loss would be empty.
    """
    ids: list[int] = []
    positions: list[int] = []
    places: list[int] = []
    for example in examples:
        if not example.prompt or not example.answer:
            raise ValueError("an example without a prompt or an answer token cannot be trained on")
        start = len(ids) + len(example.prompt)
        places += range(start - 1, start - 1 + len(example.answer))
        positions += range(len(example))
        ids += [*example.prompt, *example.answer]
    return PackedRow(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([positions]),
        loss_positions=torch.tensor(places),
        targets=torch.tensor([token for example in examples for token in example.answer]),
        sizes=tuple(len(example.answer) for example in examples),
    )


def answer_logits(model: PreTrainedModel, row: PackedRow) -> torch.Tensor:
    """The logits (answer tokens, vocabulary) that predict each answer token, in float32."""
    output = model(
        input_ids=row.input_ids,
        position_ids=row.position_ids,
        logits_to_keep=row.loss_positions,
        use_cache=False,
    )
    logits: torch.Tensor = output.logits[0].float()
    return logits


def summed_loss(model: PreTrainedModel, row: PackedRow) -> torch.Tensor:
    """The negative log-likelihood of all answer tokens, summed, in nats."""
    return torch.nn.functional.cross_entropy(answer_logits(model, row), row.targets, reduction="sum")


def epoch_batches(
    examples: Sequence[EncodedExample], batch_size: int, micro_batch_size: int, order: random.Random
) -> Iterator[list[PackedRow]]:
    """One pass in random order: for each optimizer step its micro-batches."""
    shuffled = order.sample(list(examples), k=len(examples))
    for start in range(0, len(shuffled), batch_size):
        step = shuffled[start : start + batch_size]
        yield [pack(step[i : i + micro_batch_size]) for i in range(0, len(step), micro_batch_size)]
