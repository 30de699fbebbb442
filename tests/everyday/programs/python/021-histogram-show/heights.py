import numpy as np
import matplotlib.pyplot as plt

np.random.seed(42)
heights = np.random.normal(loc=172, scale=8, size=1000)
mean, std = heights.mean(), heights.std()

counts, bins, patches = plt.hist(heights, bins=25, edgecolor="black", density=True)
xs = np.linspace(bins[0], bins[-1], 300)
plt.plot(xs, np.exp(-((xs - mean) ** 2) / (2 * std ** 2)) / (std * np.sqrt(2 * np.pi)), "r-")
plt.axvline(mean, color="k", linestyle="--", label=f"mean = {mean:.1f}")
plt.legend()
plt.xlabel("Height (cm)")
plt.show()

print(f"Mean {mean:.2f}, standard deviation {std:.2f}")
