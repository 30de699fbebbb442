import numpy as np
np.set_printoptions(precision=4, suppress=True)

A = np.array([[4, -2, 1], [-2, 4, -2], [1, -2, 4]], dtype=float)
b = np.array([11, -16, 17], dtype=float)

x = np.linalg.solve(A, b)
print("x =", x)
print("check:", np.allclose(A @ x, b))
print("det(A) =", round(np.linalg.det(A), 6))
print("rank   =", np.linalg.matrix_rank(A))

values, vectors = np.linalg.eigh(A)
print("eigenvalues:", values)
print("orthogonal:", np.allclose(vectors.T @ vectors, np.eye(3)))

L = np.linalg.cholesky(A)
print("Cholesky:\n", L)

U, S, Vt = np.linalg.svd(np.arange(12).reshape(3, 4))
print("singular values:", S)

try:
    np.linalg.inv(np.ones((2, 2)))
except np.linalg.LinAlgError as err:
    print("LinAlgError:", err)

result = np.kron(np.eye(2, dtype=int), [[1, 2], [3, 4]])
print(result)
result
