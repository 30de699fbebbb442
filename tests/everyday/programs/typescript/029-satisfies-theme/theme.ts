type Hex = `#${string}`;
type Rgb = readonly [number, number, number];
type ColorValue = Hex | Rgb;

interface ThemeShape {
  colors: Record<string, ColorValue>;
  spacing: Record<"sm" | "md" | "lg", number>;
  fonts?: string[];
}

const theme = {
  colors: {
    primary: "#3366ff",
    danger: [220, 38, 38],
    muted: "#888",
    surface: [250, 250, 250],
  },
  spacing: { sm: 4, md: 8, lg: 16 },
  fonts: ["Inter", "sans-serif"],
} as const satisfies ThemeShape;

type ColorName = keyof typeof theme.colors;

function toRgb(c: ColorValue): Rgb {
  if (typeof c !== "string") return c;
  const hex = c.length === 4 ? [...c.slice(1)].map((d) => d + d).join("") : c.slice(1);
  return [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)) as unknown as Rgb;
}

function luminance([r, g, b]: Rgb): number {
  const lin = (v: number) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * lin(r) + 0.7152 * lin(g) + 0.0722 * lin(b);
}

const contrast = (a: Rgb, b: Rgb) => {
  const [hi, lo] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (hi + 0.05) / (lo + 0.05);
};

console.log(":root {");
for (const name of Object.keys(theme.colors) as ColorName[]) {
  console.log(`  --color-${name}: rgb(${toRgb(theme.colors[name]).join(" ")});`);
}
for (const [k, v] of Object.entries(theme.spacing)) console.log(`  --space-${k}: ${v / 16}rem;`);
console.log(`  --font: ${theme.fonts.join(", ")};`);
console.log("}");
console.log(theme.colors.primary.toUpperCase(), theme.colors.danger[0]); // keeps narrow types
console.table(
  (Object.keys(theme.colors) as ColorName[]).map((c) => {
    const ratio = contrast(toRgb(theme.colors[c]), [255, 255, 255]);
    return { color: c, ratio: +ratio.toFixed(2), AA: ratio >= 4.5 ? "✓" : "✗" };
  }),
);
