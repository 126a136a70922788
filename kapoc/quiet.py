"""Keeping libraries' own bars and advice off the screen; their errors still come as exceptions."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from tqdm import tqdm
from transformers.utils import logging as transformers_logging


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no advice from transformers."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()


@contextmanager
def quiet_logger(name: str) -> Iterator[None]:
    """Only errors from one logger."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def without_bar(place: str) -> AbstractContextManager[Any]:
    """No bar from a module that draws one whatever the settings: `place` is where it keeps its `tqdm`."""
    return patch(place, partial(tqdm, disable=True))
