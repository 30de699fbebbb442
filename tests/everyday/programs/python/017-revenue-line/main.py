import matplotlib.pyplot as plt

months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
revenue = [12.1, 13.4, 11.8, 15.0, 16.2, 17.9, 16.8, 16.1, 18.4, 19.0, 22.5, 25.3]

plt.figure(figsize=(10, 5))
plt.plot(months, revenue, marker="o", linewidth=2, color="teal", label="Revenue")
plt.axhline(sum(revenue) / len(revenue), linestyle="--", color="gray", label="Average")
plt.title("Monthly Revenue 2023")
plt.xlabel("Month")
plt.ylabel("Revenue (k€)")
plt.grid(True, alpha=0.3)
plt.legend()
plt.tight_layout()
plt.savefig("revenue.png", dpi=150)
print("Chart saved to revenue.png")
