import sys
from PIL import Image, ImageDraw, ImageFilter

CHARS = "@%#*+=-:. "

def sample():
    im = Image.new("L", (200, 200), 255)
    d = ImageDraw.Draw(im)
    d.ellipse((20, 20, 180, 180), fill=120)
    d.ellipse((60, 65, 85, 95), fill=0)
    d.ellipse((115, 65, 140, 95), fill=0)
    d.arc((60, 80, 140, 150), 20, 160, fill=0, width=8)
    return im.filter(ImageFilter.GaussianBlur(1))

def to_ascii(im, width):
    h = int(im.height / im.width * width * 0.5)
    im = im.convert("L").resize((width, h))
    px = list(im.getdata())
    rows = [px[i:i + width] for i in range(0, len(px), width)]
    return "\n".join("".join(CHARS[p * (len(CHARS) - 1) // 255] for p in row).rstrip() for row in rows)

width = int(sys.argv[1]) if len(sys.argv) > 1 else 40
print(to_ascii(sample(), width))
