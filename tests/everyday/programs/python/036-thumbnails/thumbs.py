#!/usr/bin/env python3
"""Create square thumbnails for all images of a folder."""
import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

EXTENSIONS = {".png", ".jpg", ".jpeg", ".bmp"}


def make_samples(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    g = Image.linear_gradient("L").resize((300, 200))
    g.save(folder / "gradient.png")
    s = Image.new("RGB", (200, 300), "white")
    d = ImageDraw.Draw(s)
    for x in range(0, 200, 20):
        d.rectangle([x, 0, x + 9, 300], fill="navy")
    s.save(folder / "stripes.jpg", quality=90)
    c = Image.new("RGB", (120, 120), "black")
    ImageDraw.Draw(c).ellipse((10, 10, 110, 110), fill="gold")
    c.save(folder / "circle.bmp")


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("folder", type=Path)
    ap.add_argument("--size", type=int, default=128)
    args = ap.parse_args()

    if not args.folder.exists():
        print("No images yet, creating samples")
        make_samples(args.folder)

    out = Path("thumbs")
    out.mkdir(exist_ok=True)
    for path in sorted(args.folder.iterdir()):
        if path.suffix.lower() not in EXTENSIONS:
            continue
        with Image.open(path) as im:
            thumb = ImageOps.fit(im.convert("RGB"), (args.size, args.size))
            target = out / (path.stem + ".png")
            thumb.save(target)
            print(f"{path.name}: {im.format} {im.size[0]}x{im.size[1]} {im.mode} -> {target.name} {thumb.size}")


if __name__ == "__main__":
    main()
