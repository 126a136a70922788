"""Log-probabilities of continuations, every shared prefix read once, logits only where a token is scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from kapoc.engine.divergence import divergences
from kapoc.engine.prefix_tree import plan_groups
from kapoc.engine.reading import likeliest, read_prefix, read_row


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and what follows it, as token ids; at least one of each.

    Attributes:
        prompt, continuation: the tokens.
        beyond: whether the token behind the continuation is wanted as well, which costs one more to read.
    """

    prompt: Sequence[int]
    continuation: Sequence[int]
    beyond: bool = False

    @property
    def read(self) -> list[int]:
        """The tokens that a model has to read."""
        tokens = [*self.prompt, *self.continuation]
        return tokens if self.beyond else tokens[:-1]


@dataclass(frozen=True, slots=True)
class Score:
    """What a model says of a continuation.

    Attributes:
        logprob: of all its tokens, in nats.
        greedy: the likeliest token in the place of each of its tokens, and behind them where that was wanted.
        divergence: mean KL(reference || model) in these places, in nats per token; none without a reference.
    """

    logprob: float
    greedy: tuple[int, ...]
    divergence: float | None = None

    def is_greedy(self, continuation: Sequence[int]) -> bool:
        """Whether the continuation is what greedy decoding would write."""
        return list(self.greedy[: len(continuation)]) == list(continuation)


def score_requests(
    model: PreTrainedModel,
    requests: Sequence[Request],
    *,
    capacity: int,
    on_scored: Callable[[int], object] = lambda _: None,
    reference: PreTrainedModel | None = None,
) -> list[Score]:
    """Score continuations.

    Args:
        model: a causal model that takes a 4-D attention mask.
        requests: prompts with their continuations.
        capacity: tokens a forward pass.
        on_scored: is told how many requests each forward pass finished.
        reference: a model with the same vocabulary that reads the same rows, for how far the model has moved from it;
            the other scores are the same bits with and without.

    Returns:
        One score a request, in their order.

    Raises:
        ModelError: a logit is inf or nan.
    """
    sequences = [request.read for request in requests]
    own = [len(request.prompt) - 1 for request in requests]
    scores: dict[int, Score] = {}
    for group in plan_groups(sequences, own, capacity):
        prefix = read_prefix(model, group.prefix)
        before = read_prefix(reference, group.prefix) if reference is not None else []
        for row in group.rows:
            starts = {index: own[index] - len(group.prefix) for index in row.paths}
            nodes = {index: path[starts[index] :] for index, path in row.paths.items()}
            wanted = sorted({node for chosen in nodes.values() for node in chosen})
            logits = read_row(model, row, prefix, wanted).logits
            moved = None
            if reference is not None:
                moved = divergences(read_row(reference, row, before, wanted).logits, logits).to(logits.device)
            scores |= _scores(logits, moved, wanted, nodes, requests)
            on_scored(len(row.paths))
    return [scores[index] for index in range(len(requests))]


def _scores(
    logits: torch.Tensor,
    moved: torch.Tensor | None,
    wanted: Sequence[int],
    nodes: dict[int, list[int]],
    requests: Sequence[Request],
) -> dict[int, Score]:
    """Score the requests of one row.

    Args:
        logits: (wanted nodes, vocabulary), in float32.
        moved: (wanted nodes,), the divergence there.
        wanted: nodes, in order.
        nodes: request -> its nodes that each predict one of its tokens.
        requests: all of them.
    """
    place = {node: number for number, node in enumerate(wanted)}
    tokens, normalisers = likeliest(logits)
    greedy = tokens.tolist()
    pairs = [
        (place[node], token)
        for index, chosen in nodes.items()
        for node, token in zip(chosen, requests[index].continuation, strict=False)
    ]
    rows, targets = (torch.tensor(column, device=logits.device) for column in zip(*pairs, strict=True))
    sizes = [len(requests[index].continuation) for index in nodes]
    logprobs = iter((logits[rows, targets] - normalisers[rows]).split(sizes))
    means = iter([None] * len(nodes) if moved is None else [float(each.mean()) for each in moved[rows].split(sizes)])
    return {
        index: Score(float(next(logprobs).double().sum()), tuple(greedy[place[node]] for node in chosen), next(means))
        for index, chosen in nodes.items()
    }
