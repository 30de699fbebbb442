const { formatTable } = require('./lib/format');

const stations = [
  { name: 'Harbor', temp: 11.5 },
  { name: 'Hilltop', temp: -2 },
];

console.log(formatTable(stations));
