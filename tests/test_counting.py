"""How far counted work is: in a log a line a minute, on a terminal a bar."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import tiny_llama, tiny_tokenizer
from lm_eval.api.instance import Instance

import kapoc.measuring.lm_eval_model
from kapoc.cli.console import listener
from kapoc.counting import Count, Lines, bars
from kapoc.measuring.lm_eval_model import SharedPrefixLM
from kapoc.models import load_model
from kapoc.recipe import ReplaySettings
from kapoc.training import replay
from kapoc.training.replay import write_held_out, write_passages


def test_a_log_gets_a_line_a_minute_and_none_of_what_is_short_or_done() -> None:
    told: list[str] = []
    seconds = iter([0.0, 30.0, 60.0, 90.0, 119.0, 120.0, 200.0, 1000.0, 1059.0, 1100.0])
    counting = Lines(told.append, clock=lambda: next(seconds))
    with counting("answering", 100) as count:
        for more in (5, 10, 0, 5, 20, 60):
            count(more)
    with counting("reading", 3) as count:  # its minute begins anew
        for more in (1, 2):
            count(more)
    assert told == ["answering: 15 of 100  6 min left", "answering: 40 of 100  3 min left"]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    with bars("answering", 4) as count:
        count(4)
    assert "answering: 100%" in screen.getvalue()
    assert "4/4" in screen.getvalue()


class Counted:
    """Remembers what was counted: how many there were, and how many were told of."""

    def __init__(self) -> None:
        self.found: dict[str, list[int]] = {}

    @contextmanager
    def __call__(self, what: str, total: int) -> Iterator[Count]:
        numbers = self.found[what] = [total, 0]

        def count(more: int) -> None:
            numbers[1] += more

        yield count


def _requests(kind: str, arguments: list[tuple[object, ...]]) -> list[Instance]:
    return [Instance(request_type=kind, doc={}, arguments=pair, idx=0) for pair in arguments]


def test_every_answer_option_and_text_of_a_measurement_is_counted(llama_folder: Path) -> None:
    counted = Counted()
    lm = SharedPrefixLM(load_model(str(llama_folder)), batch_size=2, counting=counted)
    assert counted.found == {}  # what is tried beforehand is not
    prompts = ["What is AF-3001?", "Set the value", "How do I fix PF-1205?"]
    lm.loglikelihood(_requests("loglikelihood", [(prompt, option) for prompt in prompts for option in (" a", " b c")]))
    asked = {"until": [], "do_sample": False, "max_gen_toks": 4}
    lm.generate_until(_requests("generate_until", [(prompt, asked) for prompt in prompts]))
    lm.loglikelihood_rolling(_requests("loglikelihood_rolling", [(prompt,) for prompt in prompts]))
    assert counted.found == {"scoring": [6, 6], "answering": [3, 3], "reading": [3, 3]}


def test_what_lm_eval_reads_and_writes_by_itself_is_counted_too(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a model whose prompts cannot be shared; a bar is lm-eval's own there."""
    monkeypatch.setattr(SharedPrefixLM, "_sharing_is_exact", lambda _: False)
    counted, drawn = Counted(), Counted()
    pairs: list[tuple[object, ...]] = [
        (prompt, option) for prompt in ("What is AF-3001?", "Set") for option in (" a b", " c d e")
    ]
    for counting in (counted, drawn):
        if counting is drawn:
            monkeypatch.setattr(kapoc.measuring.lm_eval_model, "bars", drawn)
        lm = SharedPrefixLM(load_model(str(llama_folder)), batch_size=2, counting=counting)
        lm.loglikelihood(_requests("loglikelihood", pairs))
        for sampled in (False, True):
            asked: dict[str, object] = {"until": [], "do_sample": sampled, "max_gen_toks": 4}
            asked |= {"temperature": 1.0} if sampled else {}
            lm.generate_until(_requests("generate_until", [(prompt, asked) for prompt in ("One", "Two lamps", "Set")]))
            assert counting.found.get("answering") == ([3, 3] if counting is counted else None)
        lm.loglikelihood_rolling(_requests("loglikelihood_rolling", [("A lamp",), ("Two",)]))
    assert counted.found == {"scoring": [4, 4], "answering": [3, 3], "reading": [2, 2]}
    assert drawn.found == {"reading": [2, 2]}


@pytest.mark.parametrize("is_together", [True, False])
def test_every_passage_that_a_base_writes_is_counted(monkeypatch: pytest.MonkeyPatch, is_together: bool) -> None:
    if not is_together:
        monkeypatch.setattr(replay, "_written_together", lambda *_: None)
    told: list[int] = []
    write_passages(tiny_llama(), tiny_tokenizer(), 5, ReplaySettings(num_tokens=8), seed=0, on_written=told.append)
    assert sum(told) == 5
    write_held_out(tiny_llama(), tiny_tokenizer(), 3, told.append)
    assert sum(told) == 5 + 3


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_listener_counts_in_bars_on_a_terminal_and_in_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    assert (listener().counting is bars) is is_terminal
    assert isinstance(listener().counting, Lines) is not is_terminal
