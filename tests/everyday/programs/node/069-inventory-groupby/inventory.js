const items = require('./inventory.json');

const byCategory = Map.groupBy(items, ({ category }) => category);

console.log('category      items   stock      value');
for (const [category, list] of [...byCategory].sort()) {
  const stock = list.reduce((n, { qty }) => n + qty, 0);
  const value = list.reduce((n, { qty, price }) => n + qty * price, 0);
  console.log(`${category.padEnd(12)}${String(list.length).padStart(7)}${String(stock).padStart(8)}${value.toFixed(2).padStart(11)}`);
}

const { low = [], ok = [], out = [] } = Object.groupBy(items, (i) => (i.qty === 0 ? 'out' : i.qty < i.min ? 'low' : 'ok'));
console.log('\nout of stock:', out.map((i) => i.name).join(', ') || 'none');
console.log('running low: ', low.map((i) => `${i.name} (${i.qty}/${i.min})`).join(', '));
console.log('fine:        ', ok.length);

const suppliers = new Map();
for (const { supplier, name } of items) {
  suppliers.has(supplier) ? suppliers.get(supplier).add(name) : suppliers.set(supplier, new Set([name]));
}
console.log('\n', suppliers);

const a = suppliers.get('northwind'), b = new Set(['hammer', 'saw', 'rake']);
console.log('common', a.intersection(b), 'only here', a.difference(b), 'all', a.union(b).size);

const reorder = [...low, ...out]
  .map(({ name, qty, min, price, supplier }) => ({ name, supplier, order: min * 2 - qty, cost: (min * 2 - qty) * price }))
  .toSorted((x, y) => y.cost - x.cost);
console.table(reorder, ['name', 'supplier', 'order', 'cost']);
console.log(items.findLast((i) => i.category === 'garden')?.name, '|', items.at(-1).name, '|', reorder.with(0, 'changed')[0]);
