import argparse
import numpy as np

PATTERNS = {
    "glider": ["010", "001", "111"],
    "blinker": ["111"],
    "toad": ["0111", "1110"],
}


def place(grid, name, r, c):
    p = np.array([[int(ch) for ch in row] for row in PATTERNS[name]], dtype=np.uint8)
    grid[r:r + p.shape[0], c:c + p.shape[1]] = p


def step(grid):
    neighbours = sum(
        np.roll(np.roll(grid, dr, 0), dc, 1)
        for dr in (-1, 0, 1) for dc in (-1, 0, 1) if (dr, dc) != (0, 0)
    )
    return ((neighbours == 3) | ((grid == 1) & (neighbours == 2))).astype(np.uint8)


def show(grid):
    for row in grid:
        print("".join("⬛" if c else "⬜" for c in row))


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--steps", type=int, default=3)
    ap.add_argument("--size", type=int, default=12)
    a = ap.parse_args()
    grid = np.zeros((a.size, a.size), dtype=np.uint8)
    place(grid, "glider", 0, 0)
    place(grid, "toad", 7, 5)
    for i in range(a.steps + 1):
        print(f"Generation {i}: {grid.sum()} alive")
        show(grid)
        grid = step(grid)
