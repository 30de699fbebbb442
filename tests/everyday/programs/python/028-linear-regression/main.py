import numpy as np


class LinearRegression:
    """Ordinary least squares via the normal equation."""

    def fit(self, X, y):
        Xb = np.c_[np.ones(len(X)), X]
        self.theta_ = np.linalg.solve(Xb.T @ Xb, Xb.T @ y)
        return self

    def predict(self, X):
        return np.c_[np.ones(len(X)), X] @ self.theta_

    def score(self, X, y):
        residual = ((y - self.predict(X)) ** 2).sum()
        return 1 - residual / ((y - y.mean()) ** 2).sum()


np.random.seed(3)
X = np.random.rand(100, 2) * 10
y = 4 + 3 * X[:, 0] - 2 * X[:, 1] + np.random.randn(100)

split = 80
model = LinearRegression().fit(X[:split], y[:split])
print("theta:", np.round(model.theta_, 3))
print("train R2: %.4f" % model.score(X[:split], y[:split]))
print("test  R2: %.4f" % model.score(X[split:], y[split:]))
rmse = np.sqrt(np.mean((y[split:] - model.predict(X[split:])) ** 2))
print(f"test RMSE: {rmse:.4f}")
