"""JSON by the C functions of the `json` package. Importing the package loads re, enum, functools and collections, which
takes as long as starting the interpreter; most jobs need none of them. Text written by a person is parsed by the package."""

import _json

quote = _json.encode_basestring_ascii


def _constant(name):
    return float(name.replace("Infinity", "inf"))


class _Reading:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_constant)


def _refuse(value):
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_scan = _json.make_scanner(_Reading())
_parts = _json.make_encoder(None, _refuse, quote, None, ": ", ", ", False, False, True)


def loads(text):
    """Parses one value; only white space may surround it. Raises ValueError."""
    if isinstance(text, (bytes, bytearray)):
        text = text.decode("utf8", "surrogatepass")
    text = text.strip(" \t\r\n")
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        raise ValueError("Expecting value") from None
    if end != len(text):
        raise ValueError("Extra data")
    return value


def dumps(value):
    return "".join(_parts(value, 0))
