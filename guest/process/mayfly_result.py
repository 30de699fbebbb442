"""Serialises a result: plain JSON if that is lossless, else `tagged`."""

import binascii
import math
import sys

import mayfly_json

DEPTH_MAX = 512
# Enough for the maximum depth, plus properties of the value being written.
RECURSION_MAX = 10_000
INTEGER_BITS_MAX = 2**20
SAFE_INTEGER_MAX = 2**53 - 1
DIGITS_MAX = 320_000
PATH_CHARS_MAX = 300
PLAIN_CHARS_MAX = 4096
# Text form of a result that is no data.
TEXT_BYTES_MAX = 65_536
TEXT_DEPTH_MAX = 20
CUT = " …"

CONTAINERS = (list, tuple, dict, set, frozenset)

_quote = mayfly_json.quote
_float_text = float.__repr__


def _is_enum(value):
    """Checks by class name: importing enum takes longer than most jobs."""
    return any(base.__name__ == "Enum" and base.__module__ == "enum" for base in type(value).__mro__)


class Refused(Exception):
    """The value cannot be serialised; `code` is the reason."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def plain(value, bytes_max):
    """Text of a small value of a built-in type, as `encode` would return it; None for any other. It runs no code of the
    job, so it needs no time limit."""
    kind = type(value)
    if value is None:
        return "null"
    if kind is bool:
        text = "true" if value else "false"
    elif kind is int and -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
        text = str(value)
    elif kind is str and len(value) <= PLAIN_CHARS_MAX:
        text = _quote(value)
    else:
        return None
    return text if len(text) <= bytes_max else None


def encode(value, bytes_max):
    """Returns (encoding, text); raises Refused."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, RECURSION_MAX))
    try:
        writer = _Writer(bytes_max, False)
        writer.write(value, "result")
        if writer.tagged and writer.saw_type_key:
            writer = _Writer(bytes_max, True)
            writer.write(value, "result")
    except (Refused, MemoryError):
        raise
    except Exception as error:
        message = f"Cannot return the result: a class of it raised {type(error).__name__}"
        raise Refused("RESULT_NOT_SERIALISABLE", message) from None
    finally:
        sys.setrecursionlimit(before)
    return ("tagged" if writer.tagged else "json"), "".join(writer.parts)


def encode_text(value, bytes_max):
    """Returns (text, is_cut) of the `repr`. Re-raises only exceptions that end the job."""
    text = _utf8(_BoundedRepr(TEXT_BYTES_MAX + 1).of(value, 0))
    room = min(TEXT_BYTES_MAX, max(0, bytes_max - 2) // 6)
    is_cut = len(text) > room
    if is_cut:
        text = text[: max(0, room - len(CUT.encode()))] + CUT.encode()[:room]
    return _quote(text.decode("utf8", "ignore")), is_cut


def _utf8(text):
    return text.encode("utf8", "replace")


class _BoundedRepr:
    """Bounded `repr`, which does not expand a large container beyond the limit."""

    def __init__(self, room):
        self.room = room

    def of(self, value, depth):
        kind = type(value)
        if kind in (str, bytes) and len(value) > self.room:
            value = value[: self.room]
        before, behind = {
            list: ("[", "]"),
            tuple: ("(", ",)" if kind is tuple and len(value) == 1 else ")"),
            set: ("{", "}"),
            frozenset: ("frozenset({", "})"),
            dict: ("{", "}"),
        }.get(kind, ("", ""))
        is_empty_set = kind in (set, frozenset) and len(value) == 0
        if before == "" or is_empty_set or depth > TEXT_DEPTH_MAX:
            return self.take(self.repr_of(value))
        parts = []
        for item in value.items() if kind is dict else value:
            if self.room <= 0:
                break
            both = item if kind is dict else (item,)
            parts.append(": ".join(self.of(one, depth + 1) for one in both))
        return before + ", ".join(parts) + behind

    def take(self, text):
        kept = text[: max(0, self.room)]
        self.room -= len(kept) + 2
        return kept

    def repr_of(self, value):
        try:
            return str.__str__(repr(value))
        except Exception as error:
            return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"


class _Writer:
    def __init__(self, room, wrap):
        self.parts = []
        self.room = room
        self.wrap = wrap
        self.tagged = False
        self.saw_type_key = False
        self.open = set()

    def put(self, text):
        self.room -= len(text)
        if self.room < 0:
            raise Refused(
                "RESULT_TOO_LARGE",
                "Cannot return the result: it takes more bytes than this job may return",
            )
        self.parts.append(text)

    def tag(self, kind, text):
        self.tagged = True
        self.put('{"$type":"%s","value":%s}' % (kind, text))

    def write(self, value, path):
        if value is None:
            self.put("null")
        elif value is True or value is False:
            self.put("true" if value else "false")
        elif _is_enum(value):
            self.write(value.value, path)
        elif isinstance(value, str):
            self.put(_quote(str(value)))
        elif isinstance(value, int):
            self.integer(int(value))
        elif isinstance(value, float):
            self.number(float(value))
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self.put_bytes(bytes(value))
        elif type(value) in CONTAINERS:
            self.container(value, path)
        elif not self.moment(value) and not self.array(value, path):
            self.container(value, path)

    def integer(self, value):
        if -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
            return self.put(str(value))
        if value.bit_length() >= INTEGER_BITS_MAX:
            raise Refused(
                "RESULT_TOO_LARGE",
                "Cannot return the result: it holds an integer of more than 1,048,575 bits",
            )
        before = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(DIGITS_MAX)
        text = str(value)
        sys.set_int_max_str_digits(before)
        self.tag("BigInt", '"%s"' % text)

    def number(self, value):
        if math.isnan(value):
            self.tag("number", '"NaN"')
        elif math.isinf(value):
            self.tag("number", '"Infinity"' if value > 0 else '"-Infinity"')
        elif value == 0 and math.copysign(1, value) < 0:
            self.tag("number", '"-0"')
        elif value.is_integer() and abs(value) <= SAFE_INTEGER_MAX:
            self.put(str(int(value)))
        else:
            self.put(_float_text(value))

    def put_bytes(self, value):
        if len(value) * 4 / 3 > self.room:
            self.put(" " * (self.room + 1))
        self.tag("bytes", '"%s"' % binascii.b2a_base64(value, newline=False).decode())

    def moment(self, value):
        """Encodes a date; returns False for other types. Without the module loaded there can be no instance."""
        datetime = sys.modules.get("datetime")
        if datetime is None:
            return False
        if isinstance(value, datetime.datetime):
            self.date(value, datetime.timezone.utc)
        elif isinstance(value, datetime.date):
            self.tag("Date", '"%sT00:00:00.000Z"' % value.isoformat())
        else:
            return False
        return True

    def array(self, value, path):
        """Encodes numpy scalars and arrays with equal plain values. Without the module loaded there can be no
        instance."""
        numpy = sys.modules.get("numpy")
        if numpy is None or not hasattr(numpy, "generic"):
            return False
        if isinstance(value, numpy.generic):
            is_plain = value.dtype.kind in "biuf" and value.dtype.itemsize <= 8
            plain = value.item() if is_plain else None
        elif type(value) is numpy.ndarray:
            is_plain = value.dtype.kind == "U" or (value.dtype.kind in "biuf" and value.dtype.itemsize <= 8)
            if is_plain and value.size * 2 > self.room:
                self.put(" " * (self.room + 1))
            plain = value.tolist() if is_plain else None
        else:
            return False
        if is_plain:
            self.write(plain, path)
        return is_plain

    def date(self, value, utc):
        if value != value:
            # pandas.NaT, which is a datetime.
            return self.tag("Date", "null")
        at = value if value.tzinfo else value.replace(tzinfo=utc)
        at = at.astimezone(utc)
        text = at.replace(tzinfo=None).isoformat(timespec="milliseconds")
        return self.tag("Date", '"%sZ"' % text)

    def container(self, value, path):
        if id(value) in self.open:
            raise Refused(
                "RESULT_CIRCULAR", f'Cannot return the result: "{path[:PATH_CHARS_MAX]}" contains itself'
            )
        if len(self.open) == DEPTH_MAX:
            raise Refused(
                "RESULT_TOO_DEEP",
                f'Cannot return the result: "{path[:PATH_CHARS_MAX]}" is nested deeper than {DEPTH_MAX} levels',
            )
        self.open.add(id(value))
        if isinstance(value, (list, tuple)):
            self.put("[")
            self.items(value, path)
            self.put("]")
        elif isinstance(value, (set, frozenset)):
            self.tagged = True
            self.put('{"$type":"Set","value":[')
            self.items(value, path)
            self.put("]}")
        elif isinstance(value, dict):
            self.mapping(value, path)
        elif hasattr(type(value), "__dataclass_fields__"):
            # Loaded already, if an instance exists.
            import dataclasses

            names = [field.name for field in dataclasses.fields(value)]
            self.mapping({name: getattr(value, name) for name in names}, path)
        else:
            kind = type(value).__name__
            raise Refused(
                "RESULT_NOT_SERIALISABLE",
                f'Cannot return the result: "{path[:PATH_CHARS_MAX]}" holds a {kind}',
            )
        self.open.discard(id(value))

    def items(self, value, path):
        for index, item in enumerate(value):
            if index > 0:
                self.put(",")
            self.write(item, f"{path}[{index}]")

    def mapping(self, value, path):
        if not all(isinstance(key, str) for key in value):
            self.tagged = True
            return self.pairs(value, path, "Map")
        if "$type" in value:
            self.saw_type_key = True
        if "__proto__" in value or (self.wrap and "$type" in value):
            self.tagged = True
            return self.pairs(value, path, "object")
        self.put("{")
        for index, (key, item) in enumerate(value.items()):
            self.put(("," if index > 0 else "") + _quote(key) + ":")
            self.write(item, f"{path}.{key}")
        self.put("}")

    def pairs(self, value, path, kind):
        self.put('{"$type":"%s","value":[' % kind)
        for index, (key, item) in enumerate(value.items()):
            self.put(",[" if index > 0 else "[")
            self.write(key, f"{path}[{index}]")
            self.put(",")
            self.write(item, f"{path}[{index}]")
            self.put("]")
        self.put("]}")
