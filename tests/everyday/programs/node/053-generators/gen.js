function* naturals(start = 0) {
  while (true) yield start++;
}

function* fibonacci() {
  let [a, b] = [0, 1];
  for (;;) {
    yield a;
    [a, b] = [b, a + b];
  }
}

function* primes() {
  const found = [];
  for (const n of naturals(2)) {
    if (found.every((p) => n % p)) {
      found.push(n);
      yield n;
    }
  }
}

function* take(n, it) {
  let i = 0;
  for (const x of it) {
    if (i++ >= n) return 'stopped';
    yield x;
  }
}
function* zip(...its) {
  const iterators = its.map((i) => i[Symbol.iterator]());
  while (true) {
    const results = iterators.map((i) => i.next());
    if (results.some((r) => r.done)) return;
    yield results.map((r) => r.value);
  }
}
const permutations = function* (items) {
  if (items.length <= 1) yield items;
  else for (let i = 0; i < items.length; i++)
    for (const rest of permutations([...items.slice(0, i), ...items.slice(i + 1)])) yield [items[i], ...rest];
};

console.log([...take(12, fibonacci())].join(' '));
console.log([...take(12, primes())].join(' '));
console.log([...zip('abc', naturals(1), primes())]);
console.log([...permutations(['x', 'y', 'z'])].map((p) => p.join('')));

// iterator helpers
console.log(naturals().filter((n) => n % 2).map((n) => n * n).drop(2).take(4).toArray());

// two-way communication
function* averager() {
  let sum = 0, n = 0, avg;
  try {
    while (true) {
      const value = yield avg;
      sum += value;
      avg = sum / ++n;
    }
  } finally {
    console.log('closing after', n, 'values');
  }
}
const avg = averager();
avg.next();
console.log([10, 20, 60].map((v) => avg.next(v).value));
console.log(avg.return('bye'));
