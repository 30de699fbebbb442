// mulberry32, so that everyone gets the same numbers
function rng(seed) {
  return function () {
    seed |= 0; seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const seed = Number(process.env.SEED ?? 1);
const random = rng(seed);
const die = () => 1 + Math.floor(random() * 6);

function estimatePi(n) {
  let inside = 0;
  for (let i = 0; i < n; i++) {
    const x = random(), y = random();
    if (x * x + y * y <= 1) inside++;
  }
  return (4 * inside) / n;
}

console.log(`seed ${seed}`);
for (const n of [100, 10_000, 500_000]) {
  const pi = estimatePi(n);
  console.log(`n=${String(n).padEnd(7)} pi ~ ${pi.toFixed(5)}  error ${Math.abs(pi - Math.PI).toFixed(5)}`);
}

const counts = new Array(13).fill(0);
for (let i = 0; i < 20000; i++) counts[die() + die()]++;
console.log('\ntwo dice');
counts.forEach((c, sum) => {
  if (sum >= 2) console.log(`${String(sum).padStart(2)} ${(c / 200).toFixed(1).padStart(5)}% ${'▇'.repeat(Math.round(c / 120))}`);
});

function shuffle(a) {
  for (let i = a.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [a[i], a[j]] = [a[j], a[i]];
  }
  return a;
}
const deck = ['♠', '♥', '♦', '♣'].flatMap(s => ['A', 'K', 'Q', 'J', '10', '9'].map(v => v + s));
console.log('\nhand:', shuffle(deck).slice(0, 5).join(' '));

let same = 0;
for (let t = 0; t < 2000; t++) {
  const days = new Set();
  for (let p = 0; p < 23; p++) days.add(Math.floor(random() * 365));
  if (days.size < 23) same++;
}
console.log('birthday paradox (23 people):', (same / 2000).toFixed(3));
