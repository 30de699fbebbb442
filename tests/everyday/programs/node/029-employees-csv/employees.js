const { parse } = require('csv-parse/sync');
const { readFileSync, writeFileSync } = require('fs');

const rows = parse(readFileSync('employees.csv'), {
  columns: (header) => header.map((h) => h.trim().toLowerCase().replace(/ /g, '_')),
  bom: true,
  delimiter: [',', ';'],
  skip_empty_lines: true,
  relax_column_count: true,
  trim: true,
  comment: '#',
  cast(value, ctx) {
    if (ctx.header) return value;
    if (ctx.column === 'salary') return Number(value.replace(/[,\s]/g, '')) || null;
    return value;
  },
});

console.log(`${rows.length} employees`);
for (const r of rows) {
  console.log(`- ${r.full_name.padEnd(22)}${r.department.padEnd(14)}${r.salary === null ? 'unknown' : r.salary.toLocaleString('en-US')}`);
}

const departments = {};
rows.forEach(({ department, salary }) => {
  const d = (departments[department] ||= { n: 0, known: [] });
  d.n++;
  if (salary) d.known.push(salary);
});

const lines = ['department,people,average'];
for (const name of Object.keys(departments).sort()) {
  const { n, known } = departments[name];
  const avg = known.length ? Math.round(known.reduce((a, b) => a + b) / known.length) : '';
  lines.push([name, n, avg].join(','));
}
writeFileSync('departments.csv', lines.join('\n') + '\n');
console.log('\n' + lines.join('\n'));
console.log('\nnote:', JSON.stringify(rows[1].note));
