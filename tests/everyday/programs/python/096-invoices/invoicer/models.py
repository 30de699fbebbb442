import datetime
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from .money import percent, round_cents

VAT = Decimal("25")


@dataclass
class Line:
    text: str
    qty: int
    unit: Decimal

    @property
    def amount(self):
        return round_cents(self.unit * self.qty)


@dataclass
class Invoice:
    number: str
    customer: str
    date: datetime.date
    lines: list[Line]
    discount: Decimal = Decimal(0)

    @classmethod
    def from_dict(cls, d):
        return cls(
            d["number"], d["customer"], datetime.date.fromisoformat(d["date"]),
            [Line(t, q, Decimal(u)) for t, q, u in d["lines"]], Decimal(d.get("discount", 0)),
        )

    @property
    def due(self):
        return self.date + datetime.timedelta(days=30)

    @cached_property
    def net(self):
        gross = sum((l.amount for l in self.lines), Decimal(0))
        return gross - percent(gross, self.discount)

    @property
    def vat(self):
        return percent(self.net, VAT)

    @property
    def total(self):
        return self.net + self.vat
