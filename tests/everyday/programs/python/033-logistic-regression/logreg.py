import numpy as np

np.random.seed(10)

# --- data ---------------------------------------------------------------
n = 400
X = np.random.randn(n, 2)
y = (X @ np.array([2.0, -1.0]) + 0.5 + 0.3 * np.random.randn(n) > 0).astype(float)

# --- model --------------------------------------------------------------
sigmoid = lambda z: 1 / (1 + np.exp(-z))
w, b = np.zeros(2), 0.0
lr = 0.5

for epoch in range(1, 501):
    p = sigmoid(X @ w + b)
    grad_w = X.T @ (p - y) / n
    grad_b = (p - y).mean()
    w -= lr * grad_w
    b -= lr * grad_b
    if epoch in (1, 10, 100, 500):
        loss = -np.mean(y * np.log(p + 1e-12) + (1 - y) * np.log(1 - p + 1e-12))
        acc = np.mean((p > 0.5) == y)
        print(f"epoch {epoch:3d}  loss {loss:.4f}  acc {acc:.3f}")

print("weights", w.round(3), "bias", round(b, 3))
pred = sigmoid(X @ w + b) > 0.5
tp = int(np.sum(pred & (y == 1))); fp = int(np.sum(pred & (y == 0)))
fn = int(np.sum(~pred & (y == 1))); tn = int(np.sum(~pred & (y == 0)))
print(f"confusion matrix:\n  TP={tp:3d} FP={fp:3d}\n  FN={fn:3d} TN={tn:3d}")
