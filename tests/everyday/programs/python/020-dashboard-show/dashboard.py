import random
import matplotlib.pyplot as plt


def load_data(seed=11):
    random.seed(seed)
    return {
        "cpu": [random.randint(10, 90) for _ in range(24)],
        "memory": [40 + i + random.random() * 5 for i in range(24)],
        "requests": {"GET": 812, "POST": 203, "PUT": 57, "DELETE": 12},
        "latency": [random.gammavariate(2, 30) for _ in range(500)],
    }


def draw(data):
    fig, axes = plt.subplots(2, 2, figsize=(11, 7))
    fig.suptitle("Server dashboard")
    axes[0, 0].plot(data["cpu"], color="tab:red")
    axes[0, 0].set_title("CPU %")
    axes[0, 1].fill_between(range(24), data["memory"], alpha=0.4)
    axes[0, 1].set_title("Memory %")
    axes[1, 0].bar(list(data["requests"]), list(data["requests"].values()))
    axes[1, 0].set_title("Requests")
    axes[1, 1].hist(data["latency"], bins=30, color="purple")
    axes[1, 1].set_title("Latency (ms)")
    fig.tight_layout()
    return fig


if __name__ == "__main__":
    data = load_data()
    draw(data)
    print("peak cpu:", max(data["cpu"]))
    print("p95 latency: %.1f ms" % sorted(data["latency"])[475])
    plt.show()
    print("done")
