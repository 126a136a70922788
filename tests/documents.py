"""The project's pages as data: what stands between their fences, and every command that they name."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from conftest import REPOSITORY

PAGES = ("README.md", "CONTRIBUTING.md", "docs/files.md", "reports/README.md", "benchmark/README.md")
_FENCE = re.compile(r"^```(?P<language>\w*)[ ]*(?P<file>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,2} (?P<title>.+)$", re.MULTILINE)
_CODE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
_SUBSTITUTION = re.compile(r"\$\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block of a page.

    Attributes:
        language: `sh` for commands, `toml`, `python` ...
        file: what the reader should call it, where the fence says so: "```toml methods.toml".
        text: between the fences.
        section: the heading that it stands under.
    """

    language: str
    file: str
    text: str
    section: str


def page(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def fences(text: str) -> list[Fence]:
    """Every fenced block of a page, in order."""
    return [
        Fence(found["language"], found["file"], found["text"], _section(text, found.start()))
        for found in _FENCE.finditer(text)
    ]


def _section(text: str, place: int) -> str:
    outside = _FENCE.sub(lambda fence: " " * len(fence[0]), text[:place])
    return [heading["title"] for heading in _HEADING.finditer(outside)][-1]


def commands_of(fence: Fence) -> list[str]:
    """The commands of a shell block: continued lines joined, comments taken away."""
    lines = fence.text.replace("\\\n", " ").splitlines()
    return [" ".join(re.sub(r"(^|\s+)#\s.*$", "", line).split()) for line in lines if line.strip()]


def tables(text: str) -> list[list[list[str]]]:
    """Every Markdown table of a page as rows of cells, heading first and without its rule."""
    found = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    return [
        [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in table.splitlines()
            if "---" not in line
        ]
        for table in found
    ]


def named_commands(text: str) -> Iterator[list[str]]:
    """Every `kapoc ...` between backticks or in a shell block, as words; a lone `kapoc` is the package's name."""
    blocks = [command for fence in fences(text) if fence.language in {"", "sh"} for command in commands_of(fence)]
    inline = [" ".join(code.split()) for code in _CODE.findall(_FENCE.sub("", text))]
    for line in (*blocks, *inline):
        inner = _SUBSTITUTION.findall(line)
        for part in (*re.split(r"[|&;]+ ?", _SUBSTITUTION.sub("", line)), *inner):
            if re.match(r"kapoc (?!canary)[a-z-]", part):
                yield part.split()[1:]


def source_texts() -> Mapping[Path, str]:
    """Every module of the package, where docstrings and error lines name commands, too."""
    return {path: path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "kapoc").rglob("*.py"))}
