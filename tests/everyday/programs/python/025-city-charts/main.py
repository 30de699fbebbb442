import argparse
from pathlib import Path
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt

TEMPS = {
    "Lisbon": [11, 12, 14, 16, 18, 21, 23, 24, 22, 18, 14, 12],
    "Bergen": [2, 2, 4, 7, 11, 14, 16, 15, 12, 9, 5, 3],
    "Quito": [14, 14, 14, 14, 14, 14, 13, 14, 14, 14, 14, 14],
}


def plot_city(city: str, temps: list[int], out: Path) -> Path:
    fig = plt.figure(figsize=(6, 3))
    ax = fig.add_subplot(111)
    ax.step(range(1, 13), temps, where="mid")
    ax.set_title(city)
    ax.set_ylim(-5, 30)
    target = out / f"{city.lower()}.png"
    fig.savefig(target)
    plt.close(fig)
    return target


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("charts"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for city, temps in TEMPS.items():
        path = plot_city(city, temps, args.out)
        print(f"{city:8} mean {sum(temps) / 12:5.1f} °C -> {path.as_posix()}")


if __name__ == "__main__":
    main()
