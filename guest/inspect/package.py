"""Does with a Python package what its installation and its first use would do: setup.py with its commands, .pth files and
the import of its modules. Runs inside a wall; the package lies below `package/`, or in the archive that is the first argument.
"""

import os
import subprocess
import sys

STUB = '''
import sys, types
def setup(**words):
    print("setup:", words.get("name"), words.get("version"), file=sys.stderr)
    for command in (words.get("cmdclass") or {}).values():
        try:
            command(types.SimpleNamespace()).run()
        except BaseException as error:
            print("command:", type(error).__name__, error, file=sys.stderr)
def find_packages(*words, **more): return []
find_namespace_packages = find_packages
class Command:
    user_options = []
    def __init__(self, dist, **more): self.distribution = dist
    def initialize_options(self): pass
    def finalize_options(self): pass
    def run(self): pass
class Extension:
    def __init__(self, *words, **more): pass
class Distribution: pass
install = develop = egg_info = build_py = build_ext = sdist = bdist_wheel = build = Command
for name in ("command", "command.install", "command.develop", "command.egg_info", "command.build_py", "command.build_ext", "command.sdist", "core", "extension"):
    sys.modules[__name__ + "." + name] = sys.modules[__name__]
'''


def step(title, *words, cwd=None):
    print("==", title, file=sys.stderr, flush=True)
    status = subprocess.run([sys.executable, *words], cwd=cwd, env={**os.environ, "PYTHONPATH": os.path.abspath("stub")}).returncode
    if status:
        print("== ended with", status, file=sys.stderr, flush=True)


def unpack(archive):
    os.makedirs("package", exist_ok=True)
    is_zip = archive.endswith((".whl", ".zip"))
    words = [sys.executable, "-m", "zipfile", "-e", archive, "package"] if is_zip else ["tar", "-xf", archive, "-C", "package", "--no-same-owner"]
    subprocess.run(words)
    names = os.listdir("package")
    inner = os.path.join("package", names[0]) if len(names) == 1 else None
    return inner if inner and os.path.isdir(inner) and not os.path.exists(os.path.join(inner, "__init__.py")) else "package"


def modules_of(folder):
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isfile(os.path.join(path, "__init__.py")) and name not in ("tests", "test", "docs"):
            yield name
        elif name.endswith(".py") and name not in ("setup.py", "conftest.py"):
            yield name[:-3]


os.makedirs("stub", exist_ok=True)
for name in ("setuptools", "distutils"):
    try:
        __import__(name)
    except ImportError:
        with open(os.path.join("stub", name + ".py"), "w") as file:
            file.write(STUB)
root = unpack(sys.argv[1]) if len(sys.argv) > 1 else "package"
if len(sys.argv) > 1:
    open("inspect-begin").close()
if os.path.exists(os.path.join(root, "setup.py")):
    step("setup.py install", "setup.py", "install", "--user", cwd=root)
source = os.path.join(root, "src") if os.path.isdir(os.path.join(root, "src")) else root
for name in modules_of(source):
    code = "import site, sys; site.addsitedir(sys.argv[1]); sys.path.insert(0, sys.argv[1]); __import__(sys.argv[2])"
    step("import of " + name, "-c", code, os.path.abspath(source), name)
