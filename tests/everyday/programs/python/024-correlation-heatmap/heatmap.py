import pandas as pd
import numpy as np
import matplotlib.pyplot as plt

rng = np.random.default_rng(5)
size = rng.uniform(30, 200, 150)
df = pd.DataFrame({
    "size_m2": size,
    "rooms": np.round(size / 28 + rng.normal(0, 0.7, 150)).clip(1),
    "age": rng.integers(0, 90, 150),
})
df["price"] = df.size_m2 * 3100 - df.age * 900 + rng.normal(0, 20000, 150)

corr = df.corr()
print(corr.round(2))

fig, ax = plt.subplots(figsize=(6, 5))
im = ax.imshow(corr, cmap="coolwarm", vmin=-1, vmax=1)
fig.colorbar(im)
ax.set_xticks(range(len(corr)), corr.columns, rotation=45)
ax.set_yticks(range(len(corr)), corr.columns)
for i in range(len(corr)):
    for j in range(len(corr)):
        ax.text(j, i, f"{corr.iloc[i, j]:.2f}", ha="center", va="center")
plt.tight_layout()
plt.savefig("corr.png")
plt.show()
