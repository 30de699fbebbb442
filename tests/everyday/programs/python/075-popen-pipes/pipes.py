from subprocess import Popen, PIPE
import sys

fruits = "pear\napple\nfig\napple\nkiwi\npear\napple\n"

# sort | uniq -c | sort -rn, as in the shell
p1 = Popen(["sort"], stdin=PIPE, stdout=PIPE, text=True)
p2 = Popen(["uniq", "-c"], stdin=p1.stdout, stdout=PIPE, text=True)
p3 = Popen(["sort", "-k1,1nr", "-k2"], stdin=p2.stdout, stdout=PIPE, text=True)
p1.stdout.close()
p2.stdout.close()
p1.stdin.write(fruits)
p1.stdin.close()
out, _ = p3.communicate()
for line in out.splitlines():
    count, name = line.split()
    print(f"{name}: {count}")

# talk to an interactive child line by line
child_code = """
import sys
for line in sys.stdin:
    print(eval(line), flush=True)
"""
with Popen([sys.executable, "-u", "-c", child_code], stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as child:
    for expr in ("1 + 1", "2 ** 20", "sorted('hello')"):
        child.stdin.write(expr + "\n")
        child.stdin.flush()
        print(expr, "=", child.stdout.readline().strip())
    child.stdin.close()
print("child exit", child.returncode)
for p in (p1, p2):
    p.wait()
