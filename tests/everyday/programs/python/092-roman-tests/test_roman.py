import io
import sys
import unittest
from unittest import mock

import roman
from roman import RomanError, from_roman, to_roman


class ToRoman(unittest.TestCase):
    CASES = {1: "I", 4: "IV", 9: "IX", 14: "XIV", 40: "XL", 1994: "MCMXCIV", 3999: "MMMCMXCIX"}

    def test_known_values(self):
        for n, numeral in self.CASES.items():
            with self.subTest(n=n):
                self.assertEqual(to_roman(n), numeral)

    def test_out_of_range(self):
        for n in (0, -1, 4000):
            self.assertRaises(RomanError, to_roman, n)

    def test_type(self):
        with self.assertRaisesRegex(TypeError, "int"):
            to_roman("5")

    @unittest.skip("fractions are not supported")
    def test_fraction(self):
        to_roman(0.5)


class FromRoman(unittest.TestCase):
    def setUp(self):
        self.calls = []

    def test_round_trip(self):
        self.assertTrue(all(from_roman(to_roman(n)) == n for n in range(1, 4000)))

    def test_invalid(self):
        for bad in ("", "IIII", "VX", "ABC"):
            with self.subTest(bad=bad), self.assertRaises(RomanError):
                from_roman(bad)

    def test_uses_to_roman(self):
        with mock.patch.object(roman, "to_roman", return_value="X") as m:
            self.assertEqual(from_roman("x"), 10)
        m.assert_called_once_with(10)


if __name__ == "__main__":
    stream = io.StringIO()
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    outcome = unittest.TextTestRunner(stream=stream, verbosity=2).run(suite)
    for line in stream.getvalue().splitlines():
        if " ... " in line:
            print(line)
    print(f"run={outcome.testsRun} failures={len(outcome.failures)} errors={len(outcome.errors)} skipped={len(outcome.skipped)}")
    sys.exit(not outcome.wasSuccessful())
