"""Freed memory is used again instead of coming fresh from the system."""

import resource

import pytest
import torch

from kapoc.allocation import keep_freed_memory

SIZE = 64 * 2**20


def _faults_of_one_block() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(SIZE, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_freed_block_is_used_again() -> None:
    if not keep_freed_memory():
        pytest.skip("the C library has no such setting")
    _faults_of_one_block()
    assert min(_faults_of_one_block() for _ in range(3)) < SIZE / resource.getpagesize() / 20
