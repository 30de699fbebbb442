"""What a job answered becomes text: plain JSON where that loses nothing, `tagged` where it would."""

import binascii
import enum
import json
import math
import sys

DEPTH_MAX = 512
# What that many levels take, with room for the properties of whatever is written.
RECURSION_MAX = 10_000
INTEGER_BITS_MAX = 2**20
SAFE_INTEGER_MAX = 2**53 - 1
DIGITS_MAX = 320_000
PATH_CHARS_MAX = 300

_quote = json.encoder.encode_basestring_ascii
_float_text = float.__repr__


class Refused(Exception):
    """The value cannot be returned; `code` says why."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def encode(value, bytes_max):
    """(encoding, text); raises Refused."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, RECURSION_MAX))
    try:
        writer = _Writer(bytes_max, False)
        writer.write(value, "result")
        if writer.tagged and writer.saw_type_key:
            writer = _Writer(bytes_max, True)
            writer.write(value, "result")
    finally:
        sys.setrecursionlimit(before)
    return ("tagged" if writer.tagged else "json"), "".join(writer.parts)


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
        elif isinstance(value, enum.Enum):
            self.write(value.value, path)
        elif isinstance(value, str):
            self.put(_quote(str(value)))
        elif isinstance(value, int):
            self.integer(int(value))
        elif isinstance(value, float):
            self.number(float(value))
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self.put_bytes(bytes(value))
        elif not self.moment(value):
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
        """Whether it was one: whoever has one has loaded what it is of."""
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

    def date(self, value, utc):
        at = value if value.tzinfo else value.replace(tzinfo=utc)
        at = at.astimezone(utc)
        text = at.replace(tzinfo=None).isoformat(timespec="milliseconds")
        self.tag("Date", '"%sZ"' % text)

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
            # Whoever has one has loaded it.
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
