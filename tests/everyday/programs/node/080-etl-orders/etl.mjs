import { readFile, writeFile, mkdir, readdir } from 'fs/promises';
import { join } from 'path';

const RATES = { EUR: 1, USD: 0.92, GBP: 1.17 };

// extract
const files = (await readdir('data')).filter((f) => f.endsWith('.json')).toSorted();
const batches = await Promise.all(
  files.map(async (f) => {
    const orders = JSON.parse(await readFile(join('data', f), 'utf-8'));
    return orders.map((o) => ({ ...o, source: f }));
  }),
);
const orders = batches.flat();
console.log(`📥 extracted ${orders.length} orders from ${files.length} files`);

// transform
const seen = new Set();
const rejected = [];
const clean = orders.flatMap((o) => {
  const reject = (why) => (rejected.push({ id: o.id, why, source: o.source }), []);
  if (seen.has(o.id)) return reject('duplicate');
  if (!(o.currency in RATES)) return reject(`unknown currency ${o.currency}`);
  if (!Array.isArray(o.lines) || o.lines.length === 0) return reject('no lines');
  seen.add(o.id);
  const total = o.lines.reduce((s, [, qty, price]) => s + qty * price, 0);
  return { id: o.id, date: o.date, customer: o.customer.trim(), lines: o.lines.length, total_eur: +(total * RATES[o.currency]).toFixed(2) };
});
console.log(`🔧 kept ${clean.length}, rejected ${rejected.length}`);
for (const r of rejected) console.log(`   ${r.id}: ${r.why} (${r.source})`);

// load
const csvCell = (v) => (/[",\n]/.test(v) ? `"${String(v).replaceAll('"', '""')}"` : v);
const csv = [Object.keys(clean[0]), ...clean.map(Object.values)].map((r) => r.map(csvCell).join(',')).join('\n');
await mkdir('out', { recursive: true });
await Promise.all([
  writeFile('out/orders.csv', csv + '\n'),
  writeFile('out/summary.json', JSON.stringify({ orders: clean.length, total: clean.reduce((s, o) => s + o.total_eur, 0), rejected }, null, 2)),
]);
console.log('💾 out/orders.csv, out/summary.json\n');
console.log(await readFile('out/orders.csv', 'utf-8'));
