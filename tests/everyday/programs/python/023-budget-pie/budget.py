import matplotlib as mpl
import matplotlib.pyplot as plt

mpl.rcParams["svg.hashsalt"] = "budget"
plt.style.use("ggplot")

BUDGET = {"Rent": 950, "Food": 420, "Transport": 110, "Fun": 150, "Savings": 300, "Other": 70}

total = sum(BUDGET.values())
explode = [0.1 if k == "Savings" else 0 for k in BUDGET]
plt.pie(list(BUDGET.values()), labels=list(BUDGET), explode=explode, autopct=lambda p: f"{p * total / 100:.0f} €", startangle=90)
plt.axis("equal")
plt.title(f"Household budget: {total} €")
plt.savefig("budget.svg", metadata={"Date": None})

for name, amount in sorted(BUDGET.items(), key=lambda kv: -kv[1]):
    print(f"{name:<10}{amount:>6} € {amount / total:>7.1%}")
