basket = [
    ("milk", 1.20, 2),
    ("bread", 2.75, 1),
    ("apples", 0.40, 6),
]


def summary(items):
    total = 0
    for name, price, qty in items:
        cost = price * qty
        print(f"{name:<8} {cost:6.2f}")
        total += cost
    average = totl / len(items)
    return total, average


if __name__ == "__main__":
    print("Basket:")
    total, average = summary(basket)
    print(f"Total {total:.2f}, average {average:.2f}")
