import { join } from 'node:path';
const fs = require('fs');

const rows = JSON.parse(fs.readFileSync('visits.json', 'utf8'));
const total = rows.reduce((sum, r) => sum + r.visits, 0);

console.log('Visits report');
rows.forEach((r) => console.log(`${r.page.padEnd(12)} ${r.visits}`));
console.log('total', total);
fs.writeFileSync(join('.', 'total.txt'), String(total));
