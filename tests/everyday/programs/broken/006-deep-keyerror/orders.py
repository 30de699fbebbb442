"""Totals of orders and their lines."""

# prices are without tax
TAX = 1.2


def line_total(line: dict) -> float:
    return line["qty"] * line["unit_price"] * TAX


def order_total(order: dict) -> float:
    return sum(line_total(line) for line in order["lines"])


def month_totals(data: dict) -> dict:
    return {month: sum(map(order_total, orders)) for month, orders in data.items()}
