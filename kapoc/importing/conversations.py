"""Rows of chat data, as trainers read them: a list of messages, of which one asks and one answers."""

from collections.abc import Mapping
from typing import Any

from kapoc.errors import DataError

_FIELDS = ("messages", "conversations", "conversation")
_ASKING = frozenset({"user", "human", "prompter"})
_ANSWERING = frozenset({"assistant", "gpt", "model"})
_SETTING = frozenset({"system", "developer"})


def as_pair(member: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """A row with its messages as the fields `question` and `answer`; any other row as it is.

    Messages are `{role, content}`, or `{from, value}` as ShareGPT has them; a system prompt is passed over.

    Args:
        member: named fields.
        place: `file:line`.

    Raises:
        DataError: the messages are not one question and one answer.
    """
    field = next((name for name in _FIELDS if _is_chat(member.get(name))), None)
    if field is None:
        return member
    turns = [(_said_by(message), message.get("content", message.get("value"))) for message in member[field]]
    turns = [(role, text) for role, text in turns if role not in _SETTING]
    roles = [role for role, _ in turns]
    if len(turns) != 2 or roles[0] not in _ASKING or roles[1] not in _ANSWERING:
        raise DataError(
            f"{place}: {field}: holds the turns {', '.join(roles) or 'of nobody'}; a fact is one question of a user "
            "and one answer, so give each pair a row of its own"
        )
    if not all(isinstance(text, str) for _, text in turns):
        raise DataError(f"{place}: {field}: holds content that is no text; write each message's text as one string")
    rest = {name: value for name, value in member.items() if name not in (field, "question", "answer")}
    return {"question": turns[0][1], "answer": turns[1][1], **rest}


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(m, dict) and _said_by(m) for m in value)


def _said_by(message: Mapping[str, Any]) -> str:
    return str(message.get("role", message.get("from", ""))).lower()
