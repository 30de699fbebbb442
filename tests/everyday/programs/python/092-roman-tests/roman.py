"""Roman numerals between 1 and 3999."""

NUMERALS = [(1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
            (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]


class RomanError(ValueError):
    pass


def to_roman(n: int) -> str:
    if not isinstance(n, int) or isinstance(n, bool):
        raise TypeError("an int is needed")
    if not 0 < n < 4000:
        raise RomanError(f"{n} is out of range")
    out = ""
    for value, numeral in NUMERALS:
        count, n = divmod(n, value)
        out += numeral * count
    return out


def from_roman(s: str) -> int:
    total, rest = 0, s.upper()
    for value, numeral in NUMERALS:
        while rest.startswith(numeral):
            total += value
            rest = rest[len(numeral):]
    if rest or not s or to_roman(total) != s.upper():
        raise RomanError(f"invalid numeral {s!r}")
    return total
