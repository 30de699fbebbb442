import pandas as pd
import numpy as np

# Load the data
rng = np.random.RandomState(1)
n = 300
df = pd.DataFrame({
    "pclass": rng.choice([1, 2, 3], n, p=[0.2, 0.3, 0.5]),
    "sex": rng.choice(["male", "female"], n),
    "age": np.clip(rng.normal(32, 13, n), 1, 80).round(),
    "fare": rng.exponential(30, n).round(2),
})
df.loc[rng.choice(n, 30, replace=False), "age"] = np.nan
df["survived"] = (rng.rand(n) < np.where(df.sex == "female", 0.7, 0.25)).astype(int)

# First look
print(df.shape)
df.info()
print(df.describe().round(2))

# Survival by class and sex
print(df.groupby(["pclass", "sex"])["survived"].mean().unstack().round(3))

# Fill the missing ages with the median of each class
df["age"] = df.groupby("pclass")["age"].transform(lambda x: x.fillna(x.median()))
print("Missing after fill:", df.isnull().sum().sum())

# Age groups
df["age_group"] = pd.cut(df["age"], [0, 12, 18, 60, 100], labels=["child", "teen", "adult", "senior"])
df.groupby("age_group")["survived"].agg(["mean", "count"])
