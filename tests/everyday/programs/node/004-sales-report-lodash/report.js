const fs = require('fs');
const _ = require('lodash');

// ---- load ----------------------------------------------------------------
const [header, ...lines] = fs.readFileSync('sales.csv', 'utf-8').trim().split('\n');
const columns = header.split(',');
const sales = lines.map(line => {
  const row = _.zipObject(columns, line.split(','));
  return { ...row, units: +row.units, price: parseFloat(row.price) };
});

// ---- aggregate -----------------------------------------------------------
const withRevenue = sales.map(s => ({ ...s, revenue: s.units * s.price }));

const byRegion = _(withRevenue)
  .groupBy('region')
  .map((rows, region) => ({
    region,
    orders: rows.length,
    units: _.sumBy(rows, 'units'),
    revenue: _.round(_.sumBy(rows, 'revenue'), 2),
    best: _.maxBy(rows, 'revenue').product,
  }))
  .orderBy(['revenue'], ['desc'])
  .value();

console.log('SALES BY REGION');
console.table(byRegion);

const byMonth = _.mapValues(
  _.groupBy(withRevenue, s => s.date.slice(0, 7)),
  rows => _.round(_.sumBy(rows, 'revenue'), 2)
);
console.log('\nMonthly revenue:', byMonth);

const top = _.take(_.orderBy(withRevenue, 'revenue', 'desc'), 3);
console.log('\nTop 3 orders:');
top.forEach((s, i) => console.log(`  ${i + 1}. ${_.startCase(s.product)} (${s.region}) $${s.revenue.toFixed(2)}`));

fs.writeFileSync('summary.json', JSON.stringify({ byRegion, byMonth }, null, 2));
console.log('\nWrote summary.json');
