import numpy as np

rng = np.random.default_rng(99)
walks, steps = 1000, 500
moves = rng.choice([-1, 1], size=(walks, steps))
result = moves.cumsum(axis=1)

print("shape:", result.shape)
print("mean final position:", result[:, -1].mean())
print("std final position: %.3f (theory %.3f)" % (result[:, -1].std(), np.sqrt(steps)))
print("furthest:", np.abs(result).max())
hit30 = (np.abs(result) >= 30).any(axis=1)
print("crossed 30:", hit30.sum())
crossing = (np.abs(result[hit30]) >= 30).argmax(axis=1)
print("mean crossing time:", crossing.mean().round(2))
hist, edges = np.histogram(result[:, -1], bins=8)
for h, lo, hi in zip(hist, edges, edges[1:]):
    print(f"{lo:7.1f} to {hi:7.1f} | {'*' * (h // 5)}")
