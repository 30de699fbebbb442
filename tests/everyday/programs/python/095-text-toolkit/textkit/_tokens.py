import re

_WORD = re.compile(r"[A-Za-z']+")
_SENTENCE_END = re.compile(r"[.!?]+")


def words(text):
    return _WORD.findall(text)


def sentences(text):
    return [s.strip() for s in _SENTENCE_END.split(text) if s.strip()]
