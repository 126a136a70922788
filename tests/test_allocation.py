"""Freed memory is used again instead of coming fresh from the system."""

import subprocess
import sys

import pytest

from kapoc.allocation import keep_freed_memory

BLOCK = 64 * 2**20
FAULTS = f"""
import resource, sys
from kapoc.allocation import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(b"x") * {BLOCK}
    del block
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


def _faults_of_the_second_block(setting: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, setting], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_freed_block_is_used_again() -> None:
    if not keep_freed_memory():
        pytest.skip("the C library has no such setting")
    assert _faults_of_the_second_block("kept") < _faults_of_the_second_block("given back") / 10
