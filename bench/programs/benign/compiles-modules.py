"""compileall over a package of its own."""
import compileall
import pathlib

package = pathlib.Path("package")
package.mkdir()
for n in range(40):
    (package / f"m{n}.py").write_text(f"def f{n}(a):\n    return a + {n}\n")
result = bool(compileall.compile_dir("package", quiet=1))
