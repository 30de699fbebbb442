const factorial = (n) => (n <= 1n ? 1n : n * factorial(n - 1n));

function modpow(base, exp, mod) {
  let result = 1n;
  base %= mod;
  while (exp > 0n) {
    if (exp & 1n) result = (result * base) % mod;
    base = (base * base) % mod;
    exp >>= 1n;
  }
  return result;
}

function isqrt(n) {
  if (n < 2n) return n;
  let x = 1n << BigInt(n.toString(2).length / 2 | 0) + 1n;
  while (true) {
    const y = (x + n / x) >> 1n;
    if (y >= x) return x;
    x = y;
  }
}

function fib(n) {
  let [a, b] = [0n, 1n];
  for (let i = 0; i < n; i++) [a, b] = [b, a + b];
  return a;
}

const group = (n) => n.toString().replace(/\B(?=(\d{3})+$)/g, '_');

console.log('25! =', group(factorial(25n)));
console.log('digits in 200! =', factorial(200n).toString().length);
console.log('fib(150) =', fib(150));
console.log('2^128 =', 2n ** 128n);
console.log('sqrt(2) * 10^40 =', isqrt(2n * 10n ** 80n));

// toy RSA
const p = 1000003n, q = 998244353n, e = 65537n;
const n = p * q, phi = (p - 1n) * (q - 1n);
const inverse = (a, m) => {
  let [r0, r1, s0, s1] = [a, m, 1n, 0n];
  while (r1) [r0, r1, s0, s1] = [r1, r0 % r1, s1, s0 - (r0 / r1) * s1];
  return ((s0 % m) + m) % m;
};
const d = inverse(e, phi);
const secret = modpow(123456789n, e, n);
console.log('encrypted', secret, 'decrypted', modpow(secret, d, n));

console.log(typeof 1n, 1n == 1, 1n === 1, 5n / 2n, -7n % 3n, BigInt.asIntN(8, 255n), BigInt('0xff'));
console.log(Number.MAX_SAFE_INTEGER + 2, BigInt(Number.MAX_SAFE_INTEGER) + 2n);
try {
  1n + 1;
} catch (err) {
  console.log(err.message);
}
console.log(JSON.stringify({ big: 12n }, (k, v) => (typeof v === 'bigint' ? `${v}n` : v)), [3n, 1n, 2n].sort());
