from dataclasses import dataclass

from . import _tokens
from ._tokens import words


@dataclass
class TextStats:
    words: int
    sentences: int
    longest: str
    average: float

    @classmethod
    def of(cls, text: str) -> "TextStats":
        ws = words(text)
        return cls(len(ws), len(_tokens.sentences(text)), max(ws, key=len), round(sum(map(len, ws)) / len(ws), 2))


def palindromes(text, min_length=3):
    return sorted({w.lower() for w in words(text) if len(w) >= min_length and w.lower() == w.lower()[::-1]})
