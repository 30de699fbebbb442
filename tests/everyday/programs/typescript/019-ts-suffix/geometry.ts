import type { Point, Transform } from "./model/point.ts";
import { origin } from "./model/point.ts";

export const translate = (dx: number, dy: number): Transform => ({ x, y }) => ({ x: x + dx, y: y + dy });
export const scale = (k: number): Transform => ({ x, y }) => ({ x: x * k, y: y * k });
export const rotate90: Transform = ({ x, y }) => ({ x: -y, y: x });
export const compose = (...ts: Transform[]): Transform => (p) => ts.reduce((q, t) => t(q), p);
export const distance = (a: Point, b: Point = origin) => Math.hypot(a.x - b.x, a.y - b.y);
export type { Point } from "./model/point.ts";
