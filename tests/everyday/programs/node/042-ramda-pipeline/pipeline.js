import * as R from 'ramda';
import { readFile } from 'fs/promises';

const parseLine = R.pipe(R.split('|'), R.map(R.trim), R.zipObj(['title', 'genre', 'minutes', 'rating']));
const toFilm = R.evolve({ minutes: Number, rating: parseFloat });

const parse = R.pipe(R.split('\n'), R.reject(R.anyPass([R.isEmpty, R.startsWith('#')])), R.map(R.pipe(parseLine, toFilm)));

const isShort = R.propSatisfies(R.gt(100), 'minutes');
const meanRating = R.pipe(R.pluck('rating'), R.mean, (x) => x.toFixed(2));
const byRating = R.sortWith([R.descend(R.prop('rating')), R.ascend(R.prop('title'))]);

const report = R.applySpec({
  count: R.length,
  totalHours: R.pipe(R.pluck('minutes'), R.sum, R.divide(R.__, 60), Math.round),
  best: R.pipe(byRating, R.head, R.prop('title')),
  shortOnes: R.pipe(R.filter(isShort), R.pluck('title')),
  genres: R.pipe(R.groupBy(R.prop('genre')), R.map(meanRating), R.toPairs, R.sortBy(R.head), R.fromPairs),
  histogram: R.countBy((f) => Math.floor(f.rating)),
});

const films = parse(await readFile('films.txt', 'utf8'));
console.log(report(films));

const discount = R.over(R.lensPath(['price', 'amount']), R.multiply(0.9));
console.log(discount({ sku: 1, price: { amount: 50, currency: 'EUR' } }));
console.log(R.transduce(R.compose(R.map(R.inc), R.filter((n) => n % 2 === 0), R.take(3)), R.flip(R.append), [], R.range(1, 100)));
console.log(R.aperture(2, [1, 4, 9, 16]).map(([a, b]) => b - a), R.xprod([1, 2], ['a', 'b']));
