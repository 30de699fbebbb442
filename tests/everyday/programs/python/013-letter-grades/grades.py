import pandas as pd
import numpy as np

np.random.seed(0)

students = ["student_%02d" % i for i in range(1, 16)]
df = pd.DataFrame({"student": students,
                   "midterm": np.random.randint(40, 100, 15),
                   "final": np.random.randint(35, 100, 15)})
df["total"] = (df.midterm * 0.4 + df.final * 0.6).round(1)
df["grade"] = pd.cut(df.total, bins=[0, 50, 60, 70, 85, 100], labels=["F", "D", "C", "B", "A"])
df["quartile"] = pd.qcut(df.total, 4, labels=["Q1", "Q2", "Q3", "Q4"])

pd.set_option("display.width", 100)
print(df)
print()
print(df.grade.value_counts().sort_index())
print()
print("Curve needed for a mean of 75: %+.1f" % (75 - df.total.mean()))
passed = df[~df.grade.isin(["F"])]
print(f"{len(passed)}/{len(df)} passed")
df.groupby("grade", observed=True)["total"].mean()
