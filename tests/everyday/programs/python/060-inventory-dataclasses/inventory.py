from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, Flag, auto


class Category(Enum):
    TOOL = "tool"
    TOY = "toy"
    FOOD = "food"


class Handling(Flag):
    NONE = 0
    FRAGILE = auto()
    COLD = auto()
    HEAVY = auto()


@dataclass(order=True, frozen=True)
class Item:
    sort_index: float = field(init=False, repr=False)
    name: str
    price: float
    category: Category
    handling: Handling = Handling.NONE

    def __post_init__(self):
        if self.price < 0:
            raise ValueError(f"negative price for {self.name!r}")
        object.__setattr__(self, "sort_index", self.price)


@dataclass
class Warehouse:
    stock: dict[Item, int] = field(default_factory=dict)

    def add(self, item: Item, qty: int = 1) -> None:
        self.stock[item] = self.stock.get(item, 0) + qty

    @property
    def value(self) -> float:
        return sum(i.price * q for i, q in self.stock.items())

    def by_category(self) -> dict[Category, list[Item]]:
        out: dict[Category, list[Item]] = {c: [] for c in Category}
        for item in sorted(self.stock):
            out[item.category].append(item)
        return out


def main() -> None:
    w = Warehouse()
    hammer = Item("Hammer", 19.5, Category.TOOL, Handling.HEAVY)
    w.add(hammer, 10)
    w.add(Item("Vase kit", 30, Category.TOY, Handling.FRAGILE | Handling.HEAVY), 2)
    w.add(Item("Ice cream", 4.25, Category.FOOD, Handling.COLD), 50)
    w.add(replace(hammer, name="Mini hammer", price=9.0))

    for category, items in w.by_category().items():
        print(f"{category.name} ({category.value})")
        for item in items:
            print("   ", item, "x", w.stock[item])
    print(f"Total value: {w.value:.2f}")
    print("Needs care:", [i.name for i in w.stock if i.handling & (Handling.FRAGILE | Handling.COLD)])
    try:
        Item("Broken", -1, Category("tool"))
    except ValueError as e:
        print("ValueError:", e)
    try:
        hammer.price = 1
    except AttributeError as e:
        print(type(e).__name__, e)


if __name__ == "__main__":
    main()
