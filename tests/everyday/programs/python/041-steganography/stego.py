import os
import random
from PIL import Image, ImageChops


def encode(src: str, dst: str, message: str) -> None:
    img = Image.open(src).convert("RGB")
    bits = "".join(f"{byte:08b}" for byte in message.encode() + b"\0")
    pixels = list(img.getdata())
    if len(bits) > len(pixels):
        raise ValueError("message too long for this image")
    out = []
    for i, (r, g, b) in enumerate(pixels):
        if i < len(bits):
            b = (b & ~1) | int(bits[i])
        out.append((r, g, b))
    img.putdata(out)
    img.save(dst)


def decode(path: str) -> str:
    data = bytearray()
    bits = [b & 1 for _, _, b in Image.open(path).getdata()]
    for i in range(0, len(bits), 8):
        byte = int("".join(map(str, bits[i:i + 8])), 2)
        if byte == 0:
            break
        data.append(byte)
    return data.decode()


random.seed(8)
cover = Image.new("RGB", (64, 64))
cover.putdata([tuple(random.randrange(256) for _ in range(3)) for _ in range(64 * 64)])
cover.save("cover.png")

message = os.environ.get("HIDDEN_TEXT", "hello")
encode("cover.png", "hidden.png", message)
print("decoded:", decode("hidden.png"))
diff = ImageChops.difference(Image.open("cover.png"), Image.open("hidden.png"))
print("max change per channel:", [hi for lo, hi in diff.getextrema()])
try:
    encode("cover.png", "x.png", "A" * 600)
except ValueError as e:
    print("Error:", e)
