# learns: yes
"""An effect that keeps a file and calls a program, with more to do than before."""
import pathlib
import subprocess


def main(input):
    count = 200 if input == "usual" else 20_000
    pathlib.Path("rows.txt").write_text("".join(f"{n * 7919 % 10_007}\n" for n in range(count)))
    subprocess.run(["/usr/bin/sort", "-n", "-o", "sorted.txt", "rows.txt"], check=True)
    return len(pathlib.Path("sorted.txt").read_text().splitlines())
