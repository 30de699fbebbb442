// usage: node fizzbuzz.js [limit] [divisor=word ...]
const args = process.argv.slice(2);
const limit = parseInt(args[0], 10) || 15;

const rules = [[3, 'Fizz'], [5, 'Buzz']];
for (const extra of args.slice(1)) {
  const [d, word] = extra.split('=');
  rules.push([Number(d), word]);
}
rules.sort((a, b) => a[0] - b[0]);

function fizzbuzz(n) {
  return rules.filter(([d]) => n % d === 0).map(([, w]) => w).join('') || String(n);
}

Array.from({ length: limit }, (_, i) => i + 1)
  .map(fizzbuzz)
  .forEach(line => console.log(line));
