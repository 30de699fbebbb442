"""A picture of bytes, computed point by point and written as a file."""
width, height = 160, 120
rows = bytearray()
for y in range(height):
    for x in range(width):
        c, z, n = complex(x / 60 - 2, y / 60 - 1), 0j, 0
        while abs(z) < 2 and n < 60:
            z, n = z * z + c, n + 1
        rows.append(n * 4 % 256)
with open("set.pgm", "wb") as file:
    file.write(b"P5 %d %d 255\n" % (width, height) + rows)
result = len(rows)
