import pandas as pd

data = {
    "name": ["Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal"],
    "department": ["IT", "IT", "HR", "Sales", "Sales", "HR", "IT", "Sales"],
    "salary": [72000, 58000, 49000, 61000, 45500, 52000, 91000, 70250],
    "years": [5, 2, 7, 4, 1, 9, 12, 6],
}

df = pd.DataFrame(data)

result = df.groupby("department")["salary"].agg(["count", "mean", "median", "min", "max"])
result["mean"] = result["mean"].round(2)
print(result)

# rank within department
df["rank"] = df.groupby("department")["salary"].rank(ascending=False).astype(int)
print(df.sort_values(["department", "rank"]).to_string(index=False))

above = df[df["salary"] > df.groupby("department")["salary"].transform("mean")]
print("Above department average:", ", ".join(above["name"]))
print("Correlation salary/years: %.3f" % df["salary"].corr(df["years"]))
