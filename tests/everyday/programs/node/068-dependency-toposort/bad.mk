a: b
b: c d
c: a
d:
