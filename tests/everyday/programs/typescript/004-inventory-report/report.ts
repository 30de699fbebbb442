#!/usr/bin/env tsx
import { readFileSync, writeFileSync } from "node:fs";
import { join, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

interface Item {
  sku: string;
  name: string;
  category: string;
  qty: number;
  price: number;
}

const here = dirname(fileURLToPath(import.meta.url));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    category: { type: "string", short: "c" },
    low: { type: "string", default: "5" },
    csv: { type: "boolean", default: false },
  },
});

const file = positionals[0] ?? "inventory.json";
const items: Item[] = JSON.parse(readFileSync(join(here, file), "utf8"));
const selected = items.filter((i) => !values.category || i.category === values.category);

if (selected.length === 0) {
  console.error(`No items in category "${values.category}"`);
  process.exit(1);
}

const money = (n: number) => n.toFixed(2).padStart(10);
console.log(`${"SKU".padEnd(8)}${"Name".padEnd(16)}${"Qty".padStart(5)}${"Value".padStart(10)}`);
console.log("-".repeat(39));
let total = 0;
for (const { sku, name, qty, price } of selected.sort((a, b) => b.qty * b.price - a.qty * a.price)) {
  total += qty * price;
  console.log(sku.padEnd(8) + name.padEnd(16) + String(qty).padStart(5) + money(qty * price));
}
console.log("-".repeat(39));
console.log("Total".padEnd(29) + money(total));

const low = selected.filter((i) => i.qty <= Number(values.low));
if (low.length) console.log("Low stock:", low.map((i) => `${i.sku} (${i.qty})`).join(", "));

if (values.csv) {
  writeFileSync("report.csv", ["sku,value", ...selected.map((i) => `${i.sku},${(i.qty * i.price).toFixed(2)}`)].join("\n") + "\n");
  console.log("Wrote report.csv");
}
