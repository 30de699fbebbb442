import { compose, distance, rotate90, scale, translate, type Point } from "./geometry.ts";

const square: Point[] = [{ x: 0, y: 0 }, { x: 2, y: 0 }, { x: 2, y: 2 }, { x: 0, y: 2 }];
const t = compose(translate(1, 1), scale(2), rotate90);

for (const p of square) {
  const q = t(p);
  console.log(`(${p.x}, ${p.y}) => (${q.x}, ${q.y})  |q| = ${distance(q).toFixed(3)}`);
}
const perimeter = square.reduce((sum, p, i) => sum + distance(p, square[(i + 1) % square.length]), 0);
console.log({ perimeter });
