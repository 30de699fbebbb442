import shlex
import subprocess
import sys

COMMANDS = [
    "echo hello world",
    "printf '%s\\n' one two three",
    "false",
    "sh -c 'echo oops >&2; exit 7'",
    "no-such-command-here --version",
]


def run(cmd):
    print(f"$ {cmd}")
    try:
        p = subprocess.run(shlex.split(cmd), capture_output=True, text=True, timeout=2)
    except FileNotFoundError as e:
        print("   command not found:", e.filename)
        return 127
    for line in p.stdout.splitlines():
        print("  ", line)
    for line in p.stderr.splitlines():
        print("   (stderr)", line)
    print("   exit", p.returncode)
    return p.returncode


codes = [run(c) for c in COMMANDS]
print("codes:", codes)

try:
    subprocess.run([sys.executable, "-c", "import time; time.sleep(30)"], timeout=0.2)
except subprocess.TimeoutExpired:
    print("sleep timed out as expected")

try:
    subprocess.check_output("exit 5", shell=True)
except subprocess.CalledProcessError as e:
    print("check_output failed with", e.returncode)
sys.exit(0 if codes.count(0) == 2 else 1)
