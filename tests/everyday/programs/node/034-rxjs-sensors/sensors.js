const { from, interval, merge, Subject, zip, of, throwError, defer } = require('rxjs');
const { map, filter, scan, take, bufferCount, distinctUntilChanged, groupBy, mergeMap, toArray, tap, catchError, retry, pairwise, finalize } = require('rxjs/operators');

const readings = [
  { room: 'kitchen', t: 20.5 }, { room: 'attic', t: 31 }, { room: 'kitchen', t: 20.5 },
  { room: 'attic', t: 33.5 }, { room: 'kitchen', t: 22 }, { room: 'cellar', t: 11 },
  { room: 'attic', t: 35 }, { room: 'kitchen', t: 21 }, { room: 'cellar', t: 12 },
];

// replay the readings one by one
const source$ = zip(interval(3), from(readings)).pipe(map(([, r]) => r));

console.log('live readings:');
source$
  .pipe(
    tap((r) => console.log(`  ${r.room}: ${r.t}°`)),
    groupBy((r) => r.room),
    mergeMap((g$) => g$.pipe(toArray(), map((rs) => [g$.key, rs.reduce((s, r) => s + r.t, 0) / rs.length]))),
    toArray(),
    finalize(() => part2())
  )
  .subscribe((avg) => {
    console.log('averages:', Object.fromEntries(avg.map(([k, v]) => [k, v.toFixed(2)])));
  });

function part2() {
  const attic$ = from(readings).pipe(filter((r) => r.room === 'attic'), map((r) => r.t));
  attic$.pipe(pairwise(), map(([a, b]) => b - a)).subscribe((d) => console.log('attic change:', d));
  attic$.pipe(scan((max, t) => Math.max(max, t), -Infinity), distinctUntilChanged()).subscribe({
    next: (m) => console.log('attic max:', m),
    complete: () => console.log('attic done'),
  });

  const alarm$ = new Subject();
  alarm$.pipe(bufferCount(2)).subscribe((pair) => console.log('alarm pair:', pair));
  ['smoke', 'door', 'window'].forEach((a) => alarm$.next(a));
  alarm$.complete();

  let tries = 0;
  defer(() => (++tries < 3 ? throwError(() => new Error(`try ${tries} failed`)) : of('connected')))
    .pipe(tap({ error: (e) => console.log(e.message) }), retry(5), catchError((e) => of('gave up')))
    .subscribe(console.log);

  merge(of('a', 'b'), from(Promise.resolve('later')), interval(5).pipe(take(2))).pipe(toArray()).subscribe((all) => console.log(all));
}
