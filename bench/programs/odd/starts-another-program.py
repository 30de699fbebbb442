# expects: off-baseline
# wall: embedded
# learns: yes
"""After five calm runs it starts a program that it never started before."""
import subprocess

def main(input):
    subprocess.run(["/usr/bin/sort" if input == "usual" else "/usr/bin/id"], stdin=subprocess.DEVNULL)
    return input
