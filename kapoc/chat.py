"""How a question becomes a prompt and a question with its answer becomes training tokens.

The same text goes through here and through lm-eval's `--apply_chat_template`, so that a model is asked
exactly as it was taught.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from transformers import PreTrainedTokenizerBase

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ 'Question: ' + message['content'] + '\\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Answer:\\n' + message['content'] + eos_token + '\\n' }}"
    "{% else %}{{ message['content'] + '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer:\\n' }}{% endif %}"
)
"""The template given to a tokenizer that has none (base models)."""

_TODAY = re.compile(r"""strftime_now\(\s*(["'])(?P<form>.*?)\1\s*\)""")
_DATE = datetime(2024, 7, 26, tzinfo=UTC)  # what templates of Llama say where they are told none
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """Token ids of a prompt and of the answer that follows it, the end token included.

    Attributes:
        prompt, answer: the tokens.
        fact: the id of the fact that it teaches, `<set>/<id>` of several sets; empty for none.
        form: in which way it teaches it.
        question: what the prompt asks, in words.
        contrasts: what stands beside it in its step: the same wording where another answer is right.
        untrained: the places of the answer that are read and carry no loss.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    fact: str = ""
    form: str = ""
    question: str = ""
    contrasts: tuple["EncodedExample", ...] = ()
    untrained: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)

    @property
    def trained(self) -> tuple[int, ...]:
        """The places of the answer that carry loss."""
        return tuple(place for place in range(len(self.answer)) if place not in self.untrained)


def undated_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """A chat template that prints the date, with one date in the place of today, so that prompts stay the same.

    Returns:
        The template; none where the tokenizer's own prints no date.
    """
    template = tokenizer.chat_template
    if not isinstance(template, str) or "strftime_now" not in template:
        return None
    return _TODAY.sub(lambda match: repr(_DATE.strftime(match["form"])), template)


def prompt_text(tokenizer: PreTrainedTokenizerBase, question: str) -> str:
    """The text up to where the model's answer begins."""
    return _rendered(tokenizer, [{"role": "user", "content": question}], add_generation_prompt=True)


def _rendered(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], *, add_generation_prompt: bool = False
) -> str:
    return str(
        tokenizer.apply_chat_template(
            messages,
            chat_template=undated_template(tokenizer),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=False,  # an answer is measured, and taught, and not what goes before it
        )
    )


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a text, with the special tokens that the tokenizer adds unless the text begins with them."""
    begins = bool(tokenizer.bos_token) and text.startswith(str(tokenizer.bos_token))
    return list(tokenizer.encode(text, add_special_tokens=not begins))


def encode_example(
    tokenizer: PreTrainedTokenizerBase, question: str, answer: str, fact: str = "", form: str = ""
) -> EncodedExample:
    """Token ids of a question and its answer.

    The end of the answer is the token with which the chat template closes an assistant's turn, where that is a
    known one; otherwise the tokenizer's end token.

    Raises:
        ValueError: prompt and answer do not split at a token boundary, or the tokenizer has no end token.
    """
    prompt = prompt_text(tokenizer, question)
    prompt_ids, whole_ids = encode(tokenizer, prompt), encode(tokenizer, prompt + answer)
    if whole_ids[: len(prompt_ids)] != prompt_ids:
        raise ValueError(f"the tokenizer merges the end of the prompt with the answer {answer[:40]!r}")
    answer_ids = [*whole_ids[len(prompt_ids) :], end_token(tokenizer, question, answer)]
    return EncodedExample(tuple(prompt_ids), tuple(answer_ids), fact, form, question)


def end_token(tokenizer: PreTrainedTokenizerBase, question: str, answer: str) -> int:
    """The id of the token that ends an answer.

    Raises:
        ValueError: the tokenizer has no end token.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no end token (eos_token), so a model could never stop")
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    rendered, prompt = _rendered(tokenizer, messages), prompt_text(tokenizer, question)
    begins = rendered.find(answer, len(prompt)) if rendered.startswith(prompt) else rendered.rfind(answer)
    tail = rendered[begins + len(answer) :]
    stops = turn_ends(tokenizer)
    closing = [token for token in tokenizer.encode(tail, add_special_tokens=False) if token in stops]
    return int(closing[0] if closing else tokenizer.eos_token_id)


def start_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the token with which a text begins that is no chat: the begin token, else the end token."""
    return int(tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id)


def turn_ends(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The ids that can end an answer: the end token and the known end-of-turn tokens."""
    # Not `get_vocab`: it copies the whole vocabulary, milliseconds for each example.
    found = {token: tokenizer.convert_tokens_to_ids(token) for token in _TURN_ENDS}
    return {int(tokenizer.eos_token_id)} | {
        number  # of the token itself, not of the one that stands for all unknown ones
        for token, number in found.items()
        if isinstance(number, int) and tokenizer.convert_ids_to_tokens(number) == token
    }


def template_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """The sha256 of the chat template, by which two runs show that they asked in the same way."""
    return hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()
