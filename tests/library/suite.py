"""Runs one module of CPython's own tests, and writes what came of each test: name to ok, skip, fail, error or xfail."""
import importlib, json, sys, unittest
from test import support

support.use_resources = []
support.verbose = False

came = {}

class Result(unittest.TestResult):
    def note(self, test, what):
        name = test.id() if hasattr(test, "id") else str(test)
        if came.get(name) not in ("fail", "error"):
            came[name] = what
    def addSuccess(self, test): self.note(test, "ok")
    def addSkip(self, test, reason): self.note(test, "skip")
    def addFailure(self, test, error): self.note(test, "fail"); self.say(test, error)
    def addError(self, test, error): self.note(test, "error"); self.say(test, error)
    def addExpectedFailure(self, test, error): self.note(test, "xfail")
    def addUnexpectedSuccess(self, test): self.note(test, "fail")
    def addSubTest(self, test, sub, error):
        if error is not None: self.note(test, "fail"); self.say(test, error)
    def say(self, test, error):
        print(test.id() if hasattr(test, "id") else test, repr(error[1])[:300], file=sys.stderr)

def main(module, to):
    try:
        tests = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module("test." + module))
        tests.run(Result())
    except unittest.SkipTest:
        came["test." + module] = "skip"
    with open(to, "w") as file:
        json.dump(came, file)

if __name__ == "__main__":
    main(*sys.argv[1:])
