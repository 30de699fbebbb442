import numpy as np


def kmeans(X: np.ndarray, k: int, iters: int = 100, seed: int = 0):
    rng = np.random.default_rng(seed)
    # k-means++ init
    centers = [X[rng.integers(len(X))]]
    for _ in range(k - 1):
        d2 = np.min([((X - c) ** 2).sum(1) for c in centers], axis=0)
        centers.append(X[rng.choice(len(X), p=d2 / d2.sum())])
    centers = np.array(centers)

    for i in range(iters):
        labels = np.argmin(((X[:, None] - centers[None]) ** 2).sum(-1), axis=1)
        new = np.array([X[labels == j].mean(axis=0) for j in range(k)])
        if np.allclose(new, centers):
            print(f"Converged after {i + 1} iterations")
            break
        centers = new
    return centers, labels


rng = np.random.default_rng(1)
blobs = [rng.normal(loc, 0.6, (60, 2)) for loc in [(0, 0), (5, 5), (0, 6)]]
X = np.vstack(blobs)

centers, labels = kmeans(X, 3)
order = np.lexsort(centers.T[::-1])
for rank, j in enumerate(order):
    cx, cy = centers[j]
    print(f"cluster {rank}: center=({cx:.2f}, {cy:.2f}) size={np.sum(labels == j)}")

inertia = sum(((X[labels == j] - centers[j]) ** 2).sum() for j in range(3))
print("inertia:", round(float(inertia), 3))

result = set(labels.tolist())
print("labels used:", sorted(result))
