from decimal import Decimal, ROUND_HALF_EVEN


def round_cents(x: Decimal) -> Decimal:
    return x.quantize(Decimal("0.01"), ROUND_HALF_EVEN)


def percent(x: Decimal, p: Decimal) -> Decimal:
    return round_cents(x * p / 100)
