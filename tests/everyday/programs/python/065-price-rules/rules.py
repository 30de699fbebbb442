from functools import reduce, singledispatch, partial
from typing import Literal, NamedTuple, TypedDict, NotRequired, Final
import json

VAT: Final = 0.25


class CartLine(TypedDict):
    name: str
    price: float
    qty: int
    note: NotRequired[str]


class Percent(NamedTuple):
    off: float


class BuyNGetOne(NamedTuple):
    n: int
    name: str


class Shipping(NamedTuple):
    kind: Literal["standard", "express"]
    free_above: float = 50.0


@singledispatch
def apply(rule, cart: list[CartLine], total: float) -> float:
    raise NotImplementedError(f"no handler for {type(rule).__name__}")


@apply.register
def _(rule: Percent, cart, total):
    return total * (1 - rule.off / 100)


@apply.register
def _(rule: BuyNGetOne, cart, total):
    for line in cart:
        if line["name"] == rule.name:
            total -= line["price"] * (line["qty"] // (rule.n + 1))
    return total


@apply.register
def _(rule: Shipping, cart, total):
    fee = {"standard": 4.9, "express": 12.5}[rule.kind]
    return total if rule.kind == "standard" and total >= rule.free_above else total + fee


cart: list[CartLine] = json.loads("""[
  {"name": "mug", "price": 8.0, "qty": 7},
  {"name": "tea", "price": 3.5, "qty": 2, "note": "gift"}
]""")

subtotal = sum(l["price"] * l["qty"] for l in cart)
print(f"subtotal {subtotal:.2f}")
for rules in ([Percent(10), Shipping("standard")], [BuyNGetOne(2, "mug"), Shipping("standard")], [Shipping("express")]):
    total = reduce(lambda t, r: apply(r, cart, t), rules, subtotal)
    print(f"{total:7.2f} (+VAT {total * (1 + VAT):7.2f})", rules)

try:
    apply("free!", cart, subtotal)
except NotImplementedError as e:
    print(e)

hex_byte = partial(int, base=16)
print([hex_byte(x) for x in ("ff", "10", "0a")])
