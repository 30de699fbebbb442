import matplotlib.pyplot as plt
import numpy as np

hours = np.array([1, 2, 2.5, 3, 4, 4.5, 5, 6, 6.5, 7, 8, 9])
score = np.array([35, 42, 50, 48, 58, 55, 63, 70, 72, 71, 85, 91])

slope, intercept = np.polyfit(hours, score, 1)
pred = slope * hours + intercept
r2 = 1 - ((score - pred) ** 2).sum() / ((score - score.mean()) ** 2).sum()

fig, ax = plt.subplots()
ax.scatter(hours, score, label="students")
ax.plot(hours, pred, color="orange", label=f"y = {slope:.2f}x + {intercept:.2f}")
ax.annotate(f"$R^2 = {r2:.3f}$", xy=(0.05, 0.8), xycoords="axes fraction")
ax.set(xlabel="Hours studied", ylabel="Score", title="Study time and exam score")
ax.legend(loc="lower right")
fig.savefig("fit.png")
plt.show()

print(f"slope={slope:.3f} intercept={intercept:.3f} r2={r2:.3f}")
print("Predicted score for 10 hours:", round(slope * 10 + intercept, 1))
