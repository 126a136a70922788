"""Token sequences as a tree, so that what several of them begin with is read once.

Sequences are sorted, which puts those with a common beginning side by side; a run of neighbours becomes one row, in
which every node of their tree stands once. Pure: no tensors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

MIN_PREFIX = 8
"""A beginning of so many tokens, shared by all of a group, is read once for all its rows."""
_LATE_PART = 0.6
"""A row is cut where its neighbours share least, but not before it is so full."""

Tokens = Sequence[int]


@dataclass(frozen=True, slots=True)
class Row:
    """A run of neighbouring sequences, each node of their tree once.

    Attributes:
        tokens: of the nodes; a node stands behind its parent.
        depths: of the nodes, which are their positions in their sequences.
        parents: the index of each node's parent in this row; -1 where that is the end of the group's prefix.
        paths: sequence -> its nodes behind the prefix, in order.
    """

    tokens: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    paths: dict[int, list[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    def fill_up(self, size: int) -> None:
        """Add nodes, up to so many in all, that belong to no sequence and that no other node sees."""
        num = max(0, size - len(self))
        self.tokens.extend(self.tokens[:1] * num)
        self.depths.extend([0] * num)
        self.parents.extend([-1] * num)


@dataclass(frozen=True, slots=True)
class Group:
    """Sequences with a common prefix.

    Attributes:
        prefix: tokens that all of them begin with; read once, before the rows.
        rows: the rest of them.
    """

    prefix: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens that are read: prefix and nodes."""
        return len(self.prefix) + sum(map(len, self.rows))


def plan_groups(sequences: Sequence[Tokens], own: Sequence[int], capacity: int) -> list[Group]:
    """Arrange sequences for reading.

    Args:
        sequences: token ids, at least one each.
        own: for each sequence, from which place on its nodes must stand in a row (a prefix ends before it); at
            most its last place.
        capacity: nodes a row; a longer sequence gets a row to itself.
    """
    order = sorted(range(len(sequences)), key=lambda index: tuple(sequences[index]))
    return [
        Group(tuple(sequences[chosen[0]][:length]), tuple(_rows(sequences, chosen, length, capacity)))
        for length, chosen in _with_prefix(sequences, own, order, capacity)
    ]


def plan_rows(sequences: Sequence[Tokens], prefix: int, capacity: int) -> list[Row]:
    """Arrange sequences that begin with the same `prefix` tokens in rows; each has at least one token more."""
    order = sorted(range(len(sequences)), key=lambda index: tuple(sequences[index]))
    return list(_rows(sequences, order, prefix, capacity))


def prefix_length(sequences: Sequence[Tokens]) -> int:
    """With how many tokens all sequences begin, each having at least one more; 0 for too few to be read apart."""
    first, last = min(map(tuple, sequences)), max(map(tuple, sequences))
    length = min(_num_shared(first, last), *(len(tokens) - 1 for tokens in sequences))
    return length if len(sequences) > 1 and length >= MIN_PREFIX else 0


def _with_prefix(
    sequences: Sequence[Tokens], own: Sequence[int], order: Sequence[int], capacity: int
) -> Iterator[tuple[int, list[int]]]:
    """Sorted sequences by first token: those with a long enough common prefix apart, all others together.

    Where chats begin with the token with which plain texts begin, they are apart if they fill several rows.
    """
    rest: list[int] = []
    for chosen in _that_begin_alike(sequences, order, 1):
        if length := _common_prefix(sequences, own, chosen):
            yield length, chosen
            continue
        for part in _that_begin_alike(sequences, chosen, MIN_PREFIX):
            length = _common_prefix(sequences, own, part)
            if length and _num_nodes(sequences, part) > capacity:
                yield length, part
            else:
                rest += part
    if rest:
        yield 0, rest


def _that_begin_alike(sequences: Sequence[Tokens], order: Sequence[int], length: int) -> Iterator[list[int]]:
    """Sorted sequences, those together that have their first so many tokens in common."""
    return (list(chosen) for _, chosen in groupby(order, key=lambda index: tuple(sequences[index][:length])))


def _common_prefix(sequences: Sequence[Tokens], own: Sequence[int], chosen: Sequence[int]) -> int:
    """What sorted sequences begin with, none of their own; 0 for too little to be read apart."""
    length = min(_num_shared(sequences[chosen[0]], sequences[chosen[-1]]), *(own[index] for index in chosen))
    return length if len(chosen) > 1 and length >= MIN_PREFIX else 0


def _num_nodes(sequences: Sequence[Tokens], chosen: Sequence[int]) -> int:
    """The size of the tree of sorted sequences."""
    again = sum(_num_shared(sequences[a], sequences[b]) for a, b in pairwise(chosen))
    return sum(len(sequences[index]) for index in chosen) - again


def _rows(sequences: Sequence[Tokens], order: Sequence[int], prefix: int, capacity: int) -> Iterator[Row]:
    shared = [prefix] + [_num_shared(sequences[a], sequences[b]) for a, b in pairwise(order)]
    start = 0
    while start < len(order):
        end = _row_end(sequences, order, shared, start, prefix, capacity)
        yield _row(sequences, order[start:end], shared[start:end], prefix)
        start = end


def _row_end(
    sequences: Sequence[Tokens], order: Sequence[int], shared: Sequence[int], start: int, prefix: int, capacity: int
) -> int:
    """Behind the last sequence of the row that begins at `start`: where its neighbours share least."""
    size, end, cuts = 0, start, []
    while end < len(order):
        size += len(sequences[order[end]]) - (prefix if end == start else shared[end])
        if size > capacity and end > start:
            break
        end += 1
        if end < len(order) and size >= _LATE_PART * capacity:
            cuts.append(end)
    if end == len(order) or not cuts:
        return end
    return min(reversed(cuts), key=lambda cut: shared[cut])


def _row(sequences: Sequence[Tokens], chosen: Sequence[int], shared: Sequence[int], prefix: int) -> Row:
    row = Row()
    path: list[int] = []
    for place, index in enumerate(chosen):
        depth = prefix if place == 0 else shared[place]
        del path[depth - prefix :]
        for position in range(depth, len(sequences[index])):
            row.parents.append(path[-1] if path else -1)
            path.append(len(row.tokens))
            row.tokens.append(sequences[index][position])
            row.depths.append(position)
        row.paths[index] = list(path)
    return row


def _num_shared(one: Tokens, other: Tokens) -> int:
    """How many tokens two sequences begin with alike."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))
