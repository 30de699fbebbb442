import sys
from enum import StrEnum, auto


class State(StrEnum):
    NEW = auto()
    PAID = auto()
    SHIPPED = auto()
    DELIVERED = auto()
    CANCELLED = auto()


PRICES = {"coffee": 3.5, "tea": 2.25}
TRANSITIONS = {
    State.NEW: {State.PAID, State.CANCELLED},
    State.PAID: {State.SHIPPED, State.CANCELLED},
    State.SHIPPED: {State.DELIVERED},
}


class IllegalTransition(Exception):
    pass


class Order:
    def __init__(self, oid, product, qty):
        self.oid, self.product, self.qty = oid, product, qty
        self.state = State.NEW

    @property
    def total(self):
        return PRICES[self.product] * self.qty

    def go(self, to: State):
        if to not in TRANSITIONS.get(self.state, set()):
            raise IllegalTransition(f"order {self.oid}: {self.state} -> {to}")
        self.state = to


def handle(orders, line):
    match line.split():
        case ["new", oid, product, qty] if product in PRICES:
            orders[oid] = Order(oid, product, int(qty))
        case ["pay", oid, amount] if float(amount) >= orders[oid].total:
            orders[oid].go(State.PAID)
        case ["pay", oid, amount]:
            print(f"order {oid}: {amount} is not enough, {orders[oid].total:.2f} needed")
        case [("ship" | "deliver" | "cancel") as verb, oid]:
            orders[oid].go({"ship": State.SHIPPED, "deliver": State.DELIVERED, "cancel": State.CANCELLED}[verb])
        case [unknown, *rest]:
            print(f"unknown event {unknown!r} with {rest}")


def main(path):
    orders = {}
    with open(path) as f:
        for line in filter(None, map(str.strip, f)):
            try:
                handle(orders, line)
            except IllegalTransition as e:
                print("illegal:", e)
    for o in orders.values():
        print(f"{o.oid}: {o.qty} x {o.product:<7} {o.total:>6.2f} {o.state}")


main(sys.argv[1])
