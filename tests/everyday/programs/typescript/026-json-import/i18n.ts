import en from "./locales/en.json" with { type: "json" };
import de from "./locales/de.json" with { type: "json" };
import pkg from "./package.json" with { type: "json" };

type Messages = typeof en;
type Key = keyof Messages;
type Locale = "en" | "de" | "pl";

const { default: pl } = await import("./locales/pl.json", { with: { type: "json" } });

const catalog: Record<Locale, Partial<Record<Key, unknown>>> = { en, de, pl };

function t(locale: Locale, key: Key, vars: Record<string, string | number> = {}): string {
  let entry: unknown = catalog[locale][key] ?? en[key];
  if (entry && typeof entry === "object") {
    const forms = entry as Record<string, string>;
    entry = forms[new Intl.PluralRules(locale).select(Number(vars.count))] ?? forms.other;
  }
  return String(entry).replace(/\{(\w+)\}/g, (whole, v: string) => String(vars[v] ?? whole));
}

console.log(`${pkg.name} ${pkg.version}`);
for (const locale of Object.keys(catalog) as Locale[]) {
  console.log(`[${locale}]`, t(locale, "greeting", { name: "Sam" }), "|", [1, 3, 5].map((count) => t(locale, "items", { count })).join(", "), "|", t(locale, "bye"));
}
