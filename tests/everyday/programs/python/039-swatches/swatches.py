from __future__ import annotations

from dataclasses import dataclass
from PIL import Image, ImageColor, ImageDraw


@dataclass(frozen=True)
class Swatch:
    name: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        return ImageColor.getrgb(self.name)

    @property
    def luminance(self) -> float:
        r, g, b = self.rgb
        return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255

    @property
    def text_color(self) -> str:
        return "black" if self.luminance > 0.5 else "white"


def contact_sheet(swatches: list[Swatch], cols: int = 4, cell: int = 80) -> Image.Image:
    rows = -(-len(swatches) // cols)
    sheet = Image.new("RGB", (cols * cell, rows * cell), "lightgray")
    for i, s in enumerate(swatches):
        tile = Image.new("RGB", (cell - 4, cell - 4), s.rgb)
        ImageDraw.Draw(tile).text((5, 5), s.name, fill=s.text_color)
        sheet.paste(tile, ((i % cols) * cell + 2, (i // cols) * cell + 2))
    return sheet


names = "tomato gold teal navy orchid olive salmon indigo khaki".split()
swatches = sorted(map(Swatch, names), key=lambda s: s.luminance)
for s in swatches:
    print(f"{s.name:<8} #{'%02x%02x%02x' % s.rgb}  L={s.luminance:.3f}  text={s.text_color}")
sheet = contact_sheet(swatches)
sheet.save("swatches.png")
sheet.save("swatches.jpg", quality=85)
print(sheet.size)
