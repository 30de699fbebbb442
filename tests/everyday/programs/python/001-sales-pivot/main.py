import pandas as pd

df = pd.read_csv("sales.csv", parse_dates=["date"])
df["revenue"] = df["units"] * df["price"]

print("Rows:", len(df))
print(df.head())
print()

pivot = pd.pivot_table(
    df,
    values="revenue",
    index="region",
    columns="product",
    aggfunc="sum",
    fill_value=0,
    margins=True,
    margins_name="Total",
)
print("Revenue by region and product")
print(pivot.round(2))

best = df.groupby("region")["revenue"].sum().idxmax()
print(f"\nBest region: {best}")

by_month = df.groupby(df["date"].dt.to_period("M"))["revenue"].sum()
for month, value in by_month.items():
    print(f"{month}: {value:,.2f}")

pivot.to_csv("pivot.csv")
print("Saved pivot.csv")
