"""unittest, as the author of a module runs it."""
import pathlib
import subprocess
import sys

pathlib.Path("test_words.py").write_text(
    "import unittest\n"
    "class Words(unittest.TestCase):\n"
    + "".join(
        f"    def test_{n}(self):\n        self.assertEqual('w{n}'.upper(), 'W{n}')\n" for n in range(30)
    )
)
done = subprocess.run([sys.executable, "-m", "unittest", "-q"], capture_output=True, text=True)
result = [done.returncode, "Ran 30 tests" in done.stderr]
