import sqlite3
import pandas as pd

sales = pd.DataFrame({
    "day": pd.date_range("2024-05-01", periods=10).strftime("%Y-%m-%d"),
    "shop": list("ABABABABAB"),
    "amount": [120, 80, 95.5, 60, 130, 77, 101, 88, 140, 52.25],
})

with sqlite3.connect("shop.db") as con:
    sales.to_sql("sales", con, index=False, if_exists="replace")
    report = pd.read_sql_query(
        """
        SELECT shop, COUNT(*) AS days, SUM(amount) AS total, ROUND(AVG(amount), 2) AS average
        FROM sales
        WHERE amount > ?
        GROUP BY shop
        ORDER BY total DESC
        """,
        con,
        params=(60,),
    )

print(report)
report.to_json("report.json", orient="records", indent=2)

with open("report.md", "w") as md:
    md.write("| " + " | ".join(report.columns) + " |\n")
    md.write("|" + "---|" * len(report.columns) + "\n")
    for row in report.itertuples(index=False):
        md.write("| " + " | ".join(str(v) for v in row) + " |\n")

print(open("report.md").read())
con.close()
