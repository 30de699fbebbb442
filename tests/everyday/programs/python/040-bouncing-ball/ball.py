from PIL import Image, ImageDraw, ImageSequence


def frames(size=100, radius=10, gravity=1.2, n=40):
    y, vy = 15.0, 0.0
    floor = size - radius
    for _ in range(n):
        im = Image.new("P", (size, size), 0)
        im.putpalette([255, 255, 255, 220, 30, 60] + [0] * 762)
        ImageDraw.Draw(im).ellipse((size // 2 - radius, y - radius, size // 2 + radius, y + radius), fill=1)
        yield im
        vy += gravity
        y += vy
        if y > floor:
            y, vy = floor, -vy * 0.85


first, *rest = frames()
first.save("ball.gif", save_all=True, append_images=rest, duration=40, loop=0)

with Image.open("ball.gif") as gif:
    print("format:", gif.format, "frames:", gif.n_frames, "animated:", gif.is_animated)
    boxes = [f.convert("L").point(lambda v: 255 if v < 200 else 0).getbbox() for f in ImageSequence.Iterator(gif)]
tops = [b[1] for b in boxes if b]
print("highest:", min(tops), "lowest:", max(tops))
print("path:", tops)
