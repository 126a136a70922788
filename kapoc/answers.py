"""Free answers of a model to prompts, outside lm-eval: to check a saved model, and to ask what it knows."""

from collections.abc import Sequence

import torch
from transformers import LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from kapoc.chat import encode
from kapoc.models import FiniteLogits, stop_tokens


def generate_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    temperature: float | None,
    batch_size: int,
) -> list[str]:
    """Continue prompts until the model ends its answer.

    Args:
        model, tokenizer: as loaded.
        prompts: texts, template included.
        max_new_tokens: answers are cut off here.
        temperature: of sampling from the whole vocabulary; greedy where none.
        batch_size: prompts a forward pass, padded on the left.

    Raises:
        ModelError: a logit is inf or nan.
    """
    sampling = {"do_sample": False} if temperature is None else {"do_sample": True, "temperature": temperature}
    answers: list[str] = []
    for start in range(0, len(prompts), batch_size):
        ids = [encode(tokenizer, text) for text in prompts[start : start + batch_size]]
        width = max(map(len, ids))
        padded = [[tokenizer.pad_token_id] * (width - len(row)) + row for row in ids]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in ids]
        with torch.no_grad():
            made = model.generate(  # type: ignore[operator] # transformers' own annotation
                input_ids=torch.tensor(padded, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                max_new_tokens=max_new_tokens,
                top_k=0 if temperature is not None else None,
                top_p=1.0 if temperature is not None else None,
                eos_token_id=stop_tokens(model, tokenizer),
                pad_token_id=tokenizer.pad_token_id,
                logits_processor=LogitsProcessorList([FiniteLogits()]),
                **sampling,
            )
        answers += tokenizer.batch_decode(made[:, width:], skip_special_tokens=True)
    return answers
