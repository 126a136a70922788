"""A prefix tree reads each shared beginning once and loses nothing."""

import random
from itertools import pairwise

import pytest

from kapoc.engine.prefix_tree import MIN_PREFIX, Row, plan_groups, plan_rows, prefix_length

SYSTEM = list(range(100, 120))


def _read(row: Row, prefix: list[int], sequence: int) -> list[int]:
    return prefix + [row.tokens[node] for node in row.paths[sequence]]


def _chats(num: int, order: random.Random) -> list[list[int]]:
    """Questions with four options each that begin alike, behind one system prompt."""
    chats = []
    for _ in range(num):
        question = [order.randrange(50) for _ in range(order.randint(3, 12))]
        shared = [order.randrange(50) for _ in range(5)]
        chats += [SYSTEM + question + shared + [order.randrange(50) for _ in range(6)] for _ in range(4)]
    return chats


@pytest.mark.parametrize("capacity", [1, 40, 100, 10_000])
def test_every_sequence_can_be_read_back(capacity: int) -> None:
    sequences = [*_chats(30, random.Random(1)), [7, 8], [7], [9] * 300]
    groups = plan_groups(sequences, [len(tokens) - 1 for tokens in sequences], capacity)
    seen = []
    for group in groups:
        for row in group.rows:
            for sequence, path in row.paths.items():
                assert _read(row, list(group.prefix), sequence) == sequences[sequence]
                assert [row.depths[node] for node in path] == list(range(len(group.prefix), len(sequences[sequence])))
                assert [row.parents[node] for node in path] == [-1, *path[:-1]]
                seen.append(sequence)
            assert len(row) <= capacity or len(row.paths) == 1
    assert sorted(seen) == list(range(len(sequences)))


def test_no_node_stands_twice_in_a_row_and_nothing_is_read_twice_without_need() -> None:
    sequences = _chats(30, random.Random(2))
    (group,) = plan_groups(sequences, [len(tokens) - 1 for tokens in sequences], 10_000)
    assert list(group.prefix) == SYSTEM
    distinct = {tuple(tokens[:end]) for tokens in sequences for end in range(1, len(tokens) + 1)}
    assert group.num_tokens == len(distinct)


def test_rows_are_cut_between_questions() -> None:
    sequences = sorted(_chats(40, random.Random(3)))
    for row, following in pairwise(plan_rows(sequences, len(SYSTEM), 120)):
        last, first = sequences[max(row.paths)], sequences[min(following.paths)]
        assert last[: len(SYSTEM) + 8] != first[: len(SYSTEM) + 8]


def test_a_prefix_ends_before_what_must_stand_in_a_row() -> None:
    sequences = [[*SYSTEM, 1, 2], [*SYSTEM, 1, 3]]
    assert plan_groups(sequences, [12, 21], 100)[0].prefix == tuple(SYSTEM[:12])
    assert prefix_length([SYSTEM, [*SYSTEM, 1]]) == len(SYSTEM) - 1
    assert prefix_length([SYSTEM]) == 0
    short = [[*SYSTEM[: MIN_PREFIX - 1], 1], [*SYSTEM[: MIN_PREFIX - 1], 2]]
    assert [group.prefix for group in plan_groups(short, [MIN_PREFIX, MIN_PREFIX], 100)] == [()]


def test_chats_are_apart_from_plain_texts_that_begin_with_the_same_token() -> None:
    order = random.Random(4)
    plain = [[SYSTEM[0], *(order.randrange(50) for _ in range(30))] for _ in range(20)]
    chats = _chats(30, order)
    sequences = [tokens for pair in zip(chats, [*plain, *([2, n] for n in range(100))], strict=True) for tokens in pair]
    own = [len(tokens) - 1 for tokens in sequences]
    groups = plan_groups(sequences, own, 200)
    assert [list(group.prefix) for group in groups] == [SYSTEM, []]
    assert {tuple(sequences[index]) for row in groups[0].rows for index in row.paths} == {*map(tuple, chats)}
    assert sorted(index for group in groups for row in group.rows for index in row.paths) == list(range(240))
    (together,) = plan_groups(sequences, own, 10_000)  # where all stand in one row, that reads them once, too
    assert together.prefix == ()
