from PIL import Image, ImageDraw, ImageFont

W, H = 320, 120
img = Image.new("RGBA", (W, H), (0, 0, 0, 0))
draw = ImageDraw.Draw(img)

draw.rounded_rectangle((0, 0, W - 1, H - 1), radius=18, fill=(40, 90, 160, 255), outline="white", width=3)
draw.ellipse((15, 20, 95, 100), fill="white")
draw.line([(35, 62), (50, 78), (78, 42)], fill=(40, 160, 90), width=8)

font = ImageFont.load_default()
draw.text((115, 35), "BUILD PASSING", font=font, fill="white")
draw.text((115, 60), "coverage 97%", font=font, fill=(200, 220, 255))

img.save("badge.png")
print("Saved badge.png", img.size, img.mode)
print("Centre pixel:", img.getpixel((W // 2, 100)))
print("Corner is transparent:", img.getpixel((0, 0))[3] == 0)
img
