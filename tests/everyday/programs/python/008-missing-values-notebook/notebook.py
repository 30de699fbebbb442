# %% [markdown]
# # Missing values in weather readings

# %%
import pandas as pd
import numpy as np

# %%
df = pd.DataFrame({
    'station': ['A', 'A', 'A', 'A', 'B', 'B', 'B', 'B'],
    'hour': [0, 6, 12, 18] * 2,
    'temp': [3.1, np.nan, 9.4, 6.0, np.nan, 2.2, np.nan, 4.4],
    'wind': [5, 7, np.nan, np.nan, 2, 3, 4, 5],
})
df.head()

# %%
df.isna().sum()

# %%
print(df.isna().mean().mul(100).round(1).astype(str) + ' %')

# %%
filled = df.copy()
filled['temp'] = filled.groupby('station')['temp'].transform(lambda s: s.interpolate(limit_direction='both'))
filled['wind'] = filled['wind'].fillna(filled['wind'].median())
filled

# %%
df.describe()

# %%
filled.pivot(index='hour', columns='station', values='temp')
