import { readdir } from "node:fs/promises";
import type { Plugin } from "plugin-api";

const isPlugin = (x: unknown): x is Plugin => typeof x === "object" && x !== null && "name" in x && typeof (x as Plugin).transform === "function";

const dir = new URL("./plugins/", import.meta.url);
const plugins: Plugin[] = [];
for (const file of (await readdir(dir)).filter((f) => f.endsWith(".ts")).sort()) {
  try {
    const mod: { default?: unknown } = await import(`./plugins/${file}`);
    if (!isPlugin(mod.default)) {
      console.log(`- ${file}: no plugin exported, skipped`);
      continue;
    }
    plugins.push(mod.default);
    console.log(`- ${file}: loaded "${mod.default.name}"`);
  } catch (e) {
    console.log(`- ${file}: failed (${(e as Error).message})`);
  }
}

plugins.sort((a, b) => a.order! - b.order!);
let text = process.argv[2] ?? "plugins are fun";
for (const p of plugins) {
  text = await p.transform(text);
  console.log(`${p.name} → ${text}`);
}
