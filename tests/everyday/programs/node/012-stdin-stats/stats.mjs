let input = '';
process.stdin.setEncoding('utf8');
for await (const chunk of process.stdin) input += chunk;

const values = [];
let ignored = 0;
for (const token of input.split(/\s+/).filter(Boolean)) {
  const n = Number(token.replace(',', '.'));
  if (Number.isNaN(n)) ignored++;
  else values.push(n);
}

if (values.length === 0) {
  console.error('no numbers on stdin');
  process.exit(1);
}

values.sort((a, b) => a - b);
const n = values.length;
const mean = values.reduce((a, b) => a + b, 0) / n;
const median = n % 2 ? values[(n - 1) / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
const sd = Math.sqrt(values.reduce((a, v) => a + (v - mean) ** 2, 0) / (n - 1));
const mode = Object.entries(Object.groupBy(values, String)).toSorted((a, b) => b[1].length - a[1].length)[0];

const rows = { count: n, ignored, min: values[0], max: values.at(-1), mean, median, 'std dev': sd, mode: `${mode[0]} (x${mode[1].length})` };
for (const [k, v] of Object.entries(rows)) {
  console.log(`${k.padEnd(10)}${typeof v === 'number' && !Number.isInteger(v) ? v.toFixed(3) : v}`);
}
