import numpy as np
import pandas as pd

rng = np.random.default_rng(42)
idx = pd.date_range("2023-01-01", "2023-12-31", freq="D")
weekend = np.where(idx.dayofweek >= 5, 0.6, 1.0)
visits = pd.Series((rng.poisson(500, len(idx)) * weekend).astype(int), index=idx, name="visits")

monthly = visits.resample("M").agg(["sum", "mean", "max"])
monthly.index = monthly.index.strftime("%b")
monthly["change %"] = monthly["sum"].pct_change().mul(100).round(1)
print(monthly.round(1))

print("\nBusiest weekday:")
per_day = visits.groupby(visits.index.day_name()).mean().sort_values(ascending=False)
print(per_day.round(2).to_string())

peak = visits.idxmax()
print(f"\nPeak day: {peak:%Y-%m-%d} with {visits.max()} visits 📈")
print("Quarter totals:", visits.resample("Q").sum().tolist())
